{{- define "voice.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Labels that select a component's pods: (list $ "worker") */ -}}
{{- define "voice.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "voice.labels" -}}
{{- $root := index . 0 -}}
{{ include "voice.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end -}}

{{- /* An image's reference: (list $ .Values.images.worker) */ -}}
{{- define "voice.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{ printf "%s@%s" $image.repository $image.digest }}
{{- else -}}
{{ printf "%s:%s" $image.repository ($image.tag | default $root.Chart.AppVersion) }}
{{- end -}}
{{- end -}}

{{- define "voice.any" -}}
{{- if eq .Values.ipFamily "IPv6" -}}[::]{{- else -}}0.0.0.0{{- end -}}
{{- end -}}

{{- /* How many ordinals there may be */ -}}
{{- define "voice.ordinals" -}}
{{- if .Values.autoscaling.enabled -}}{{- max .Values.autoscaling.maxReplicas .Values.autoscaling.minReplicas -}}
{{- else -}}{{- .Values.workers.replicas -}}{{- end -}}
{{- end -}}

{{- define "voice.container" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
{{- end -}}

{{- /* A pod's identity: its user's number */ -}}
{{- define "voice.pod" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- /* Spread over nodes and zones as far as there are any: (list $ "worker") */ -}}
{{- define "voice.spread" -}}
{{- $selector := include "voice.selector" . -}}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ . }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- $selector | nindent 6 }}
{{- end }}
{{- end -}}

{{- define "voice.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* What cannot be served, said before anything is installed */ -}}
{{- define "voice.check" -}}
{{- $values := .Values -}}
{{- if not (or $values.access.openToAll $values.access.secretName) -}}
{{- fail "access.secretName is required, or access.openToAll=true where callers need no token" -}}
{{- end -}}
{{- if and $values.access.secretName (not $values.access.keyFiles) -}}
{{- fail "access.keyFiles must name the files of access.secretName, such as [production.pub]" -}}
{{- end -}}
{{- if not (or $values.balancers.enabled $values.workers.service.enabled) -}}
{{- fail "enable balancers or workers.service: nothing else brings UDP to the workers" -}}
{{- end -}}
{{- if and $values.balancers.enabled $values.workers.service.enabled -}}
{{- fail "enable balancers or workers.service, not both: workers take datagrams either way, not in both" -}}
{{- end -}}
{{- if and $values.balancers.enabled (ne $values.workers.serverIds "ordinal") -}}
{{- fail "workers.serverIds must be ordinal with balancers: they find workers by their ordinals" -}}
{{- end -}}
{{- if and (not $values.redis.bundled) (not $values.redis.existing.secretName) -}}
{{- fail "redis.existing.secretName is required where redis.bundled is false" -}}
{{- end -}}
{{- if and (not $values.autoscaling.enabled) (gt (int $values.workers.replicas) 1000) -}}
{{- fail "workers.replicas: the load balancers look for at most 1000 ordinals" -}}
{{- end -}}
{{- end -}}
