{{/* All names are fixed: a second srsync on the same nodes would be told that there is one, and so is a second release. */}}
{{- define "srsync.labels" -}}
app.kubernetes.io/name: srsync
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "srsync.config" -}}
{{- $config := dict "sources" (list "/routes") "listen" "127.0.0.1:9783" -}}
{{- toYaml (merge $config .Values.config) -}}
{{- end }}

{{/* Where kubelet asks: on loopback of the node, or at the address of the pod, which is that of the node. */}}
{{- define "srsync.host" -}}
{{- if not .Values.metrics.enabled -}}
host: 127.0.0.1
{{ end -}}
port: http
{{- end }}
