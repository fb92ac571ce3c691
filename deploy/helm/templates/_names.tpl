{{- define "ocs.name" -}}
{{- if contains "ocs" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-ocs{{ end }}
{{- end }}

{{- define "ocs.labels" -}}
app.kubernetes.io/name: ocs
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
