{{/* Names, labels, and what all our pods have in common. */}}

{{- define "tropilla.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tropilla.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* What a selector may say: it cannot be changed by an upgrade. Takes root, component and, of a worker, group. */}}
{{- define "tropilla.selector" -}}
app.kubernetes.io/name: {{ include "tropilla.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- if .group }}
tropilla/group: {{ .group }}
{{- end }}
{{- end -}}

{{- define "tropilla.labels" -}}
{{ include "tropilla.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: tropilla
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "tropilla.image" -}}
{{- printf "%s:%s" .root.Values.image.repository (get .root.Values.image.tags .flavour) | quote -}}
{{- end -}}

{{/* A whole pod's part of the restrictions; any user but root, as its image has him. */}}
{{- define "tropilla.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ int .user }}
runAsGroup: {{ int .user }}
fsGroup: {{ int .user }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "tropilla.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What every pod of ours begins with. No service links: Kubernetes would make variables of the names of Services, and
TROPILLA_API_PORT is no setting. */}}
{{- define "tropilla.pod" -}}
serviceAccountName: {{ include "tropilla.fullname" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The settings a person has given, which a pod must start again for. */}}
{{- define "tropilla.checksum" -}}
{{ include (print .Template.BasePath "/settings.yaml") . | sha256sum }}
{{- end -}}

{{- define "tropilla.redisSecret" -}}
{{- if .Values.redis.enabled -}}
{{ include "tropilla.fullname" . }}-redis
{{- else -}}
{{ required "redis.enabled is false: name the Secret with your Redis's URL (its key: redis-url) in redis.existingSecret" .Values.redis.existingSecret }}
{{- end -}}
{{- end -}}

{{- define "tropilla.flowerSecret" -}}
{{ .Values.flower.existingSecret | default (printf "%s-flower" (include "tropilla.fullname" .)) }}
{{- end -}}

{{- define "tropilla.claim" -}}
{{ .Values.storage.existingClaim | default (printf "%s-files" (include "tropilla.fullname" .)) }}
{{- end -}}

{{/* Settings in a container: those for all, then what only the chart knows. */}}
{{- define "tropilla.environment" -}}
envFrom:
  - configMapRef:
      name: {{ include "tropilla.fullname" . }}-settings
{{- end -}}

{{- define "tropilla.variables" -}}
- name: TROPILLA_REDIS_URL_FILE
  value: /run/secrets/tropilla/redis-url
- name: TROPILLA_HOME
  value: /data
- name: HOME
  value: /tmp
{{- with .Values.tracing.headersSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: headers
{{- end }}
{{- end -}}

{{- define "tropilla.mounts" -}}
- name: redis-url
  mountPath: /run/secrets/tropilla
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- end -}}

{{- define "tropilla.volumes" -}}
- name: redis-url
  secret:
    secretName: {{ include "tropilla.redisSecret" . }}
    items:
      - key: redis-url
        path: redis-url
- name: tmp
  emptyDir:
    sizeLimit: 1Gi
{{- end -}}

{{/* A process of ours says itself whether it is well. Python needs a moment to start. */}}
{{- define "tropilla.health" -}}
exec:
  command: [tropilla, health, {{ . }}]
timeoutSeconds: 10
{{- end -}}

{{/* A number of seconds as settings have it, or its default, in whole ones. */}}
{{- define "tropilla.drainSeconds" -}}
{{ int (default 5 .drain_seconds) }}
{{- end -}}
{{- define "tropilla.apiDrainSeconds" -}}
{{ int (default 60 .api_drain_seconds) }}
{{- end -}}

{{/* A setting as text: whole numbers as such, where Helm has 1e+06. */}}
{{- define "tropilla.text" -}}
{{- if kindIs "string" . -}}{{ . | quote }}{{- else -}}{{ toJson . | quote }}{{- end -}}
{{- end -}}
