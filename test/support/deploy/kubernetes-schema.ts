/** What of the Kubernetes API our manifests use, strictly: a word that is not here is a slip or has to be thought about. */
import { z } from 'zod'

const text = z.string().min(1)
const labels = z.record(text, text)
const metadata = z.strictObject({ name: text, labels: labels.optional(), annotations: labels.optional() })
const count = z.number().int().min(0)
const selector = z.strictObject({ matchLabels: labels })
const quantity = z.string().regex(/^\d+(m|Mi|Gi)?$/)

const probe = z.strictObject({
  httpGet: z.strictObject({ path: z.string().startsWith('/'), port: z.literal('http') }),
  periodSeconds: count,
  timeoutSeconds: count.optional(),
  failureThreshold: count,
})

const container = z.strictObject({
  name: text,
  image: text,
  ports: z.array(z.strictObject({ name: z.literal('http'), containerPort: count })),
  env: z.array(
    z.union([
      z.strictObject({ name: text, value: text }),
      z.strictObject({
        name: text,
        valueFrom: z.strictObject({ fieldRef: z.strictObject({ fieldPath: z.literal('metadata.name') }) }),
      }),
    ]),
  ),
  envFrom: z.array(z.strictObject({ secretRef: z.strictObject({ name: text }) })),
  startupProbe: probe,
  livenessProbe: probe,
  readinessProbe: probe,
  resources: z.strictObject({
    requests: z.strictObject({ cpu: quantity, memory: quantity }),
    limits: z.strictObject({ cpu: quantity.optional(), memory: quantity }),
  }),
  securityContext: z.strictObject({
    allowPrivilegeEscalation: z.literal(false),
    readOnlyRootFilesystem: z.literal(true),
    capabilities: z.strictObject({ drop: z.tuple([z.literal('ALL')]) }),
  }),
  volumeMounts: z.array(z.strictObject({ name: text, mountPath: text })),
})

const deployment = z.strictObject({
  apiVersion: z.literal('apps/v1'),
  kind: z.literal('Deployment'),
  metadata,
  spec: z.strictObject({
    strategy: z.strictObject({
      type: z.literal('RollingUpdate'),
      rollingUpdate: z.strictObject({ maxSurge: count, maxUnavailable: count }),
    }),
    minReadySeconds: count,
    selector,
    template: z.strictObject({
      metadata: z.strictObject({ labels }),
      spec: z.strictObject({
        terminationGracePeriodSeconds: count,
        automountServiceAccountToken: z.literal(false),
        securityContext: z.strictObject({
          runAsNonRoot: z.literal(true),
          runAsUser: count,
          runAsGroup: count,
          seccompProfile: z.strictObject({ type: z.literal('RuntimeDefault') }),
        }),
        topologySpreadConstraints: z.array(
          z.strictObject({
            maxSkew: count,
            topologyKey: text,
            whenUnsatisfiable: z.enum(['ScheduleAnyway', 'DoNotSchedule']),
            labelSelector: selector,
          }),
        ),
        containers: z.tuple([container]),
        volumes: z.array(z.strictObject({ name: text, emptyDir: z.strictObject({}) })),
      }),
    }),
  }),
})

const service = z.strictObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('Service'),
  metadata,
  spec: z.strictObject({
    selector: labels,
    ports: z.array(z.strictObject({ name: text, port: count, targetPort: z.literal('http') })),
  }),
})

const disruptionBudget = z.strictObject({
  apiVersion: z.literal('policy/v1'),
  kind: z.literal('PodDisruptionBudget'),
  metadata,
  spec: z.strictObject({ maxUnavailable: count, selector }),
})

const scaling = z.strictObject({
  stabilizationWindowSeconds: count,
  policies: z.array(z.strictObject({ type: z.enum(['Pods', 'Percent']), value: count, periodSeconds: count })),
})
const autoscaler = z.strictObject({
  apiVersion: z.literal('autoscaling/v2'),
  kind: z.literal('HorizontalPodAutoscaler'),
  metadata,
  spec: z.strictObject({
    scaleTargetRef: z.strictObject({ apiVersion: text, kind: text, name: text }),
    minReplicas: count,
    maxReplicas: count,
    metrics: z.array(
      z.strictObject({
        type: z.literal('Resource'),
        resource: z.strictObject({
          name: z.enum(['cpu', 'memory']),
          target: z.strictObject({ type: z.literal('Utilization'), averageUtilization: count.max(100) }),
        }),
      }),
    ),
    behavior: z.strictObject({ scaleUp: scaling, scaleDown: scaling }),
  }),
})

const ingress = z.strictObject({
  apiVersion: z.literal('networking.k8s.io/v1'),
  kind: z.literal('Ingress'),
  metadata,
  spec: z.strictObject({
    ingressClassName: text,
    tls: z.array(z.strictObject({ hosts: z.array(text), secretName: text })),
    rules: z.array(
      z.strictObject({
        host: text,
        http: z.strictObject({
          paths: z.array(
            z.strictObject({
              path: text,
              pathType: z.enum(['Prefix', 'Exact']),
              backend: z.strictObject({
                service: z.strictObject({ name: text, port: z.strictObject({ name: text }) }),
              }),
            }),
          ),
        }),
      }),
    ),
  }),
})

const secret = z.strictObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('Secret'),
  metadata,
  type: z.literal('Opaque'),
  /** Empty: an example that could be used as it is would be used as it is. */
  stringData: z.record(text, z.literal('')),
})

export const manifest = z.discriminatedUnion('kind', [
  deployment,
  service,
  disruptionBudget,
  autoscaler,
  ingress,
  secret,
])

export type Manifest = z.infer<typeof manifest>
