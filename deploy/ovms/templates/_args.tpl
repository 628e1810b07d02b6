{{/* The server's arguments. Every option of the server that the chart sets by itself is in this file. */}}

{{/* One option; what is not text or a number is JSON. */}}
{{- define "ovms.option" -}}
{{- $value := .value -}}
{{- if or (kindIs "map" $value) (kindIs "slice" $value) -}}
{{- $value = toJson $value -}}
{{- else if kindIs "float64" $value -}}
{{- $value = toJson $value -}}
{{- end -}}
{{- printf "--%s=%v" .name $value | quote -}}
{{- end -}}

{{- define "ovms.what" -}}
{{- $chosen := list -}}
{{- if or .Values.model.name .Values.model.path -}}{{- $chosen = append $chosen "model" -}}{{- end -}}
{{- if .Values.models -}}{{- $chosen = append $chosen "models" -}}{{- end -}}
{{- if .Values.configMap.name -}}{{- $chosen = append $chosen "configMap" -}}{{- end -}}
{{- if ne (len $chosen) 1 -}}
{{- fail (printf "what is served: expected one of model.name and model.path, models, configMap.name; got %s" (ternary "none" (join ", " $chosen) (empty $chosen))) -}}
{{- end -}}
{{- if and (eq (first $chosen) "model") (not (and .Values.model.name .Values.model.path)) -}}
{{- fail "model.name and model.path are needed both" -}}
{{- end -}}
{{- first $chosen -}}
{{- end -}}

{{/* Three quarters of the volume: a node ends a pod whose emptyDir grows beyond its limit. */}}
{{- define "ovms.cacheBytes" -}}
{{- $units := dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 -}}
{{- $unit := regexFind "[A-Za-z]+$" .Values.cache.size -}}
{{- div (mul (regexFind "^[0-9]+" .Values.cache.size | int64) (ternary 1 (get $units $unit) (empty $unit)) 3) 4 -}}
{{- end -}}

{{/* What the chart sets by itself cannot be set twice. */}}
{{- define "ovms.checkOptions" -}}
{{- $own := list "config_path" "model_name" "model_path" "port" "rest_port" "metrics_port" "shutdown_delay_seconds" "drain_seconds" "model_cache" "cache_dir" "model_cache_bytes" "api_keys_file" "tls_cert_file" "tls_key_file" "tls_client_ca_file" "tls_ports" -}}
{{- range $place, $options := dict "options" .Values.options "model.options" .Values.model.options -}}
{{- range $name, $value := $options -}}
{{- if has $name $own -}}
{{- fail (printf "%s: the chart sets %q itself" $place $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.tls.clientCaSecretName (not .Values.tls.secretName) -}}
{{- fail "tls.clientCaSecretName: expected tls.secretName as well" -}}
{{- end -}}
{{- with .Values.ports -}}
{{- if ne (len (uniq (list .grpc .rest .metrics))) 3 -}}
{{- fail "ports: expected three different ones" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ovms.args" -}}
{{- include "ovms.checkOptions" . -}}
{{- if eq (include "ovms.what" .) "model" -}}
- model
- {{ include "ovms.option" (dict "name" "model_name" "value" .Values.model.name) }}
- {{ include "ovms.option" (dict "name" "model_path" "value" .Values.model.path) }}
{{- range $name, $value := .Values.model.options }}
- {{ include "ovms.option" (dict "name" $name "value" $value) }}
{{- end }}
{{- else -}}
- config
- {{ include "ovms.option" (dict "name" "config_path" "value" (printf "/etc/ovms/%s" (ternary .Values.configMap.key "config.json" (not (empty .Values.configMap.name))))) }}
{{- end }}
- {{ include "ovms.option" (dict "name" "port" "value" .Values.ports.grpc) }}
- {{ include "ovms.option" (dict "name" "rest_port" "value" .Values.ports.rest) }}
- {{ include "ovms.option" (dict "name" "metrics_port" "value" .Values.ports.metrics) }}
- {{ include "ovms.option" (dict "name" "shutdown_delay_seconds" "value" .Values.shutdown.delaySeconds) }}
- {{ include "ovms.option" (dict "name" "drain_seconds" "value" .Values.shutdown.drainSeconds) }}
- --model_cache=/var/lib/ovms/models
- {{ include "ovms.option" (dict "name" "model_cache_bytes" "value" (include "ovms.cacheBytes" .)) }}
{{- if .Values.cache.compiled }}
- --cache_dir=/var/lib/ovms/compiled
{{- end }}
{{- if .Values.apiKeys.secretName }}
- {{ include "ovms.option" (dict "name" "api_keys_file" "value" (printf "/secrets/api-keys/%s" .Values.apiKeys.key)) }}
{{- end }}
{{- if .Values.tls.secretName }}
- --tls_cert_file=/secrets/tls/tls.crt
- --tls_key_file=/secrets/tls/tls.key
- --tls_ports=grpc,rest
{{- end }}
{{- if .Values.tls.clientCaSecretName }}
- --tls_client_ca_file=/secrets/client-ca/ca.crt
{{- end }}
{{- range $name, $value := .Values.options }}
- {{ include "ovms.option" (dict "name" $name "value" $value) }}
{{- end }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}
