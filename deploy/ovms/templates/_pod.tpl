{{/* Probes, mounts and volumes of the pod. */}}

{{- define "ovms.probe" -}}
httpGet:
  path: {{ .path }}
  port: metrics
{{ toYaml .values }}
{{- end -}}

{{- define "ovms.env" -}}
{{/* Home of what libraries keep. */ -}}
- name: HOME
  value: /tmp
{{- if .Values.storage.googleKey.secretName }}
- name: GOOGLE_APPLICATION_CREDENTIALS
  value: {{ printf "/secrets/google/%s" .Values.storage.googleKey.key }}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "ovms.mounts" -}}
- name: cache
  mountPath: /var/lib/ovms
- name: tmp
  mountPath: /tmp
{{- if ne (include "ovms.what" .) "model" }}
{{/* A folder, not one file of it: those are not brought up to date. */ -}}
- name: config
  mountPath: /etc/ovms
  readOnly: true
{{- end }}
{{- if .Values.modelsClaim }}
- name: models
  mountPath: /models
  readOnly: true
{{- end }}
{{- if .Values.storage.googleKey.secretName }}
- name: google-key
  mountPath: /secrets/google
  readOnly: true
{{- end }}
{{- if .Values.tls.secretName }}
- name: tls
  mountPath: /secrets/tls
  readOnly: true
{{- end }}
{{- if .Values.tls.clientCaSecretName }}
- name: client-ca
  mountPath: /secrets/client-ca
  readOnly: true
{{- end }}
{{- if .Values.apiKeys.secretName }}
- name: api-keys
  mountPath: /secrets/api-keys
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "ovms.volumes" -}}
- name: cache
  {{- if eq .Values.cache.type "emptyDir" }}
  emptyDir:
    sizeLimit: {{ .Values.cache.size | quote }}
  {{- else }}
  persistentVolumeClaim:
    claimName: {{ include "ovms.cacheClaim" . }}
  {{- end }}
- name: tmp
  emptyDir:
    sizeLimit: 256Mi
{{- if ne (include "ovms.what" .) "model" }}
- name: config
  configMap:
    name: {{ include "ovms.configMapName" . }}
{{- end }}
{{- with .Values.modelsClaim }}
- name: models
  persistentVolumeClaim:
    claimName: {{ . }}
    readOnly: true
{{- end }}
{{- with .Values.storage.googleKey.secretName }}
{{ include "ovms.secretVolume" (dict "name" "google-key" "secret" .) }}
{{- end }}
{{- with .Values.tls.secretName }}
{{ include "ovms.secretVolume" (dict "name" "tls" "secret" .) }}
{{- end }}
{{- with .Values.tls.clientCaSecretName }}
{{ include "ovms.secretVolume" (dict "name" "client-ca" "secret" .) }}
{{- end }}
{{- with .Values.apiKeys.secretName }}
{{ include "ovms.secretVolume" (dict "name" "api-keys" "secret" .) }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Readable by the group of the pod, which is fsGroup's. */}}
{{- define "ovms.secretVolume" -}}
- name: {{ .name }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
{{- end -}}
