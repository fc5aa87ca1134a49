{{/* Labels of everything that belongs to one program; the argument is (list . "receiver"). */}}
{{- define "heypeter.labels" -}}
{{ include "heypeter.selector" . }}
app.kubernetes.io/part-of: heypeter-monitoring
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
{{- end }}

{{/* Labels that a pod is selected by; they can never change. */}}
{{- define "heypeter.selector" -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
{{- end }}

{{/* Labels of what belongs to no program. */}}
{{- define "heypeter.common" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: heypeter-monitoring
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{/* Repository with digest, or with tag. */}}
{{- define "heypeter.image" -}}
{{- $values := (index . 0).Values.image -}}
{{- $digest := get $values (printf "%sDigest" (index . 1)) -}}
{{- $tag := $values.tag | default (index . 0).Chart.AppVersion -}}
{{- get $values (index . 1) -}}{{ if $digest }}@{{ $digest }}{{ else }}:{{ $tag }}{{ end }}
{{- end }}

{{/* The Secret with the password of the receivers' PostgreSQL; empty when their database is an SQLite file. */}}
{{- define "heypeter.database" -}}
{{- .Values.receiver.database.secret | default (ternary (printf "%s-db-app" .Release.Name) "" .Values.postgresql.enabled) -}}
{{- end }}

{{/* A program with a volume for each pod; the argument is (list . "receiver" ports). */}}
{{- define "heypeter.statefulset" -}}
{{- $top := index . 0 -}}
{{- $name := index . 1 -}}
{{- $values := get $top.Values $name -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ $top.Release.Name }}-{{ $name }}
  labels: {{- include "heypeter.labels" . | nindent 4 }}
spec:
  # Each has files on a volume of its own, and starts on it again wherever it is moved to.
  replicas: {{ $values.replicas }}
  {{- if gt (int $values.replicas) 1 }}
  podManagementPolicy: Parallel
  {{- end }}
  serviceName: {{ $top.Release.Name }}-{{ $name }}{{ ternary "-pods" "" (eq $name "exporter") }}
  selector:
    matchLabels: {{- include "heypeter.selector" . | nindent 6 }}
  {{- include "heypeter.pod" . | nindent 2 }}
  volumeClaimTemplates:
    - apiVersion: v1
      kind: PersistentVolumeClaim
      metadata: {name: data}
      spec:
        accessModes: [ReadWriteOnce]
        {{- with $values.storage.class }}
        storageClassName: {{ . }}
        {{- end }}
        resources: {requests: {storage: {{ $values.storage.size }}}}
{{- end }}

{{/* A program that keeps nothing in its pods. */}}
{{- define "heypeter.deployment" -}}
{{- $top := index . 0 -}}
{{- $name := index . 1 -}}
{{- $values := get $top.Values $name -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $top.Release.Name }}-{{ $name }}
  labels: {{- include "heypeter.labels" . | nindent 4 }}
spec:
  replicas: {{ $values.replicas }}
  # A new one is ready, which is a commit to the database, before an old one ends.
  strategy:
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  minReadySeconds: 5
  selector:
    matchLabels: {{- include "heypeter.selector" . | nindent 6 }}
  {{- include "heypeter.pod" . | nindent 2 }}
{{- end }}

{{/* What all pods are made of. */}}
{{- define "heypeter.pod" -}}
{{- $top := index . 0 -}}
{{- $name := index . 1 -}}
{{- $values := get $top.Values $name -}}
{{- $database := ternary (include "heypeter.database" $top) "" (eq $name "receiver") -}}
template:
  metadata:
    labels: {{- include "heypeter.labels" . | nindent 6 }}
    annotations:
      checksum/config: {{ include (printf "heypeter.%s.config" $name) $top | sha256sum }}
  spec:
    automountServiceAccountToken: false
    enableServiceLinks: false
    terminationGracePeriodSeconds: 60
    {{- with $top.Values.image.pullSecrets }}
    imagePullSecrets:
      {{- range . }}
      - name: {{ . }}
      {{- end }}
    {{- end }}
    securityContext:
      runAsNonRoot: true
      runAsUser: 10001
      runAsGroup: 10001
      fsGroup: 10001
      fsGroupChangePolicy: OnRootMismatch
      seccompProfile: {type: RuntimeDefault}
    containers:
      - name: {{ $name }}
        image: {{ include "heypeter.image" . | quote }}
        imagePullPolicy: {{ $top.Values.image.pullPolicy }}
        ports: {{- index . 2 | toYaml | nindent 10 }}
        # It starts within seconds; a migration of a large database may take minutes.
        startupProbe:
          httpGet: {path: /-/ready, port: http}
          periodSeconds: 2
          failureThreshold: 150
        # Whether it takes requests.
        readinessProbe:
          httpGet: {path: /-/ready, port: http}
          periodSeconds: 5
          timeoutSeconds: 5
        # Whether its loops run. It never asks the database or anything outside: a restart would not mend those.
        livenessProbe:
          httpGet: {path: /-/healthy, port: http}
          periodSeconds: 10
          timeoutSeconds: 5
          failureThreshold: 6
        resources: {{- $values.resources | toYaml | nindent 10 }}
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: {drop: [ALL]}
        volumeMounts:
          - {name: config, mountPath: /etc/heypeter, readOnly: true}
          - {name: secrets, mountPath: /run/secrets, readOnly: true}
          - {name: data, mountPath: /var/lib/heypeter}
          - {name: tmp, mountPath: /tmp}
    volumes:
      - name: config
        configMap: {name: {{ $top.Release.Name }}-{{ $name }}}
      - name: secrets
        {{- if $database }}
        projected:
          defaultMode: 0440
          sources:
            - secret: {name: {{ $values.secret }}}
            - secret:
                name: {{ $database }}
                items: [{key: {{ $values.database.key }}, path: database-password}]
        {{- else }}
        secret: {secretName: {{ $values.secret }}, defaultMode: 0440}
        {{- end }}
      {{- if $database }}
      - name: data # calendars that were read, and an archive if there is one: nothing that is missed
        emptyDir: {sizeLimit: 256Mi}
      {{- end }}
      - name: tmp
        emptyDir: {sizeLimit: 64Mi}
    {{- if gt (int $values.replicas) 1 }}
    # One node may be lost, and a zone where there are several.
    topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: DoNotSchedule
        nodeTaintsPolicy: Honor
        labelSelector:
          matchLabels: {{- include "heypeter.selector" . | nindent 12 }}
        matchLabelKeys: [{{ ternary "pod-template-hash" "controller-revision-hash" (ne $database "") }}]
      - maxSkew: 1
        topologyKey: topology.kubernetes.io/zone
        whenUnsatisfiable: ScheduleAnyway
        labelSelector:
          matchLabels: {{- include "heypeter.selector" . | nindent 12 }}
    {{- end }}
    {{- with $values.nodeSelector }}
    nodeSelector: {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $values.tolerations }}
    tolerations: {{- toYaml . | nindent 6 }}
    {{- end }}
{{- end }}

{{- define "heypeter.exporter.config" -}}
{{- $example := .Files.Get (printf "files/config/%s" (ternary "exporter-replicas.yml" "exporter.yml" (gt (int .Values.exporter.replicas) 1))) -}}
{{- $peers := list -}}
{{- range until (int .Values.exporter.replicas) -}}
{{- $peers = append $peers (printf "http://%s-exporter-%d.%s-exporter-pods:3001" $.Release.Name . $.Release.Name) -}}
{{- end -}}
{{ .Values.exporter.config | default ($example | replace "PEERS" (printf "[%s]" (join ", " $peers))) | trim }}
{{- end }}

{{- define "heypeter.receiver.config" -}}
{{- $example := ternary "receiver-postgresql.yml" "receiver.yml" (ne (include "heypeter.database" .) "") -}}
{{ .Values.receiver.config | default (.Files.Get (printf "files/config/%s" $example)) | trim }}
{{- end }}
