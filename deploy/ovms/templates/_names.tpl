{{/* Names and labels. */}}
{{- define "ovms.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Short enough for a suffix. */}}
{{- define "ovms.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "ovms.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "ovms.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "ovms.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ovms.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ovms.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "ovms.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "ovms.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "ovms.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What the ConfigMap of `models` has. */}}
{{- define "ovms.configFile" -}}
{{- dict "model_config_list" .Values.models | toPrettyJson -}}
{{- end -}}

{{/* Where pods are restarted, another list is another ConfigMap: old pods keep theirs. */}}
{{- define "ovms.configMapName" -}}
{{- if .Values.configMap.name -}}
{{- .Values.configMap.name -}}
{{- else if .Values.restartOnConfigChange -}}
{{- printf "%s-config-%s" (include "ovms.fullname" .) (include "ovms.configFile" . | sha256sum | trunc 8) -}}
{{- else -}}
{{- printf "%s-config" (include "ovms.fullname" .) -}}
{{- end -}}
{{- end -}}

{{- define "ovms.cacheClaim" -}}
{{- default (printf "%s-cache" (include "ovms.fullname" .)) .Values.cache.existingClaim -}}
{{- end -}}
