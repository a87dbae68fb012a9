{{- define "node.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}{{ end -}}
{{- end -}}

{{/* Names outside of the release's namespace. */}}
{{- define "node.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "node.name" .) -}}
{{- end -}}

{{- define "node.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "node.name" .) -}}
{{- end -}}

{{- define "node.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "node.labels" -}}
{{ include "node.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "node.image" -}}
{{- with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end -}}
{{- end -}}

{{- define "node.options" -}}
name = {{ .Values.nodeName | quote }}
{{ .Values.options -}}
{{- end -}}
