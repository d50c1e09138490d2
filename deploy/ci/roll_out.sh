#!/usr/bin/env bash
# Puts an image into production and waits for it; one that does not come up is taken back, and the exit status is 1.
#
#     bash deploy/ci/roll_out.sh registry.example.com/churn-model@sha256:...
#
# NAMESPACE (churn), OVERLAY (deploy/kubernetes/overlays/prod), PATIENCE (5m): how long the pods may take.
set -euo pipefail
image="${1:?usage: roll_out.sh IMAGE}"
namespace="${NAMESPACE:-churn}"
overlay="${OVERLAY:-deploy/kubernetes/overlays/prod}"

manifests="$(mktemp)"
trap 'rm -f "$manifests"' EXIT
# The image by its digest, whatever tag the overlay names.
kubectl kustomize "$overlay" | sed -E "s#^( +(- )?image:) [^ ]*churn-model[^ ]*\$#\1 $image#" > "$manifests"
grep -qF "image: $image" "$manifests" || { echo "the overlay $overlay names no image churn-model" >&2; exit 2; }

kubectl apply --filename "$manifests"
if ! kubectl --namespace "$namespace" rollout status deployment/churnlib --timeout "${PATIENCE:-5m}"; then
    kubectl --namespace "$namespace" get pods --selector app.kubernetes.io/name=churnlib >&2 || true
    kubectl --namespace "$namespace" logs deployment/churnlib --tail 50 >&2 || true
    echo "$image did not come up; going back" >&2
    kubectl --namespace "$namespace" rollout undo deployment/churnlib
    kubectl --namespace "$namespace" rollout status deployment/churnlib --timeout "${PATIENCE:-5m}"
    exit 1
fi
