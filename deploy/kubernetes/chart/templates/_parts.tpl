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

{{/* What both pods are made of; the argument is (list . "receiver" ports). */}}
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
  # One: its state is a file on one volume. The next one starts when this one has ended.
  replicas: 1
  serviceName: {{ $top.Release.Name }}-{{ $name }}
  selector:
    matchLabels: {{- include "heypeter.selector" . | nindent 6 }}
  template:
    metadata:
      labels: {{- include "heypeter.labels" . | nindent 8 }}
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
          ports: {{- index . 2 | toYaml | nindent 12 }}
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
          resources: {{- $values.resources | toYaml | nindent 12 }}
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
          secret: {secretName: {{ $values.secret }}, defaultMode: 0440}
        - name: tmp
          emptyDir: {sizeLimit: 64Mi}
      {{- with $values.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
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

{{- define "heypeter.exporter.config" -}}
{{ .Values.exporter.config | default (.Files.Get "files/config/exporter.yml") | trim }}
{{- end }}

{{- define "heypeter.receiver.config" -}}
{{ .Values.receiver.config | default (.Files.Get "files/config/receiver.yml") | trim }}
{{- end }}
