#!/usr/bin/env bash
# Objects of a real Kubernetes API server as a source, with the real program.
#
#   tests/kube/objects.sh KUBECONFIG SRSYNC    SRSYNC is built with `--features kube`
#
# Runs in the network namespace of its caller, which must be one of its own and reach the server: it makes two
# links there, and the program makes routes. Needs kubectl. Whoever KUBECONFIG is may make CRDs.
set -euo pipefail
export KUBECONFIG=$1
SRSYNC=$2 HOME_DIR=$(mktemp -d)
SOCKET=$HOME_DIR/socket DAEMON=
echo "{}" >"$HOME_DIR/config.yaml"

if [[ $(readlink /proc/self/ns/net) == "$(readlink /proc/1/ns/net)" ]]; then
  echo "this is the network namespace of the machine; use \`ip netns exec NAME\` or \`unshare -n\`" >&2
  exit 2
fi

finish() {
  code=$?
  [[ -n $DAEMON ]] && { kill "$DAEMON" 2>/dev/null || true; }
  [[ $code == 0 ]] || { echo "--- log of the daemon"; tail -40 "$HOME_DIR/log" || true; } >&2
  rm -rf "$HOME_DIR"
}
trap finish EXIT

check() { echo "objects: $*"; }
fail() { echo "failed: $*" >&2; exit 1; }
ours() { ip -4 route show proto 83 | cut -d' ' -f1 | sort | tr '\n' ' '; }
# Waits until a command says this.
until_is() {
  local wanted=$1 said; shift
  for _ in $(seq 900); do
    said=$("$@" 2>&1 || true)
    [[ $said == "$wanted" ]] && return
    sleep .1
  done
  fail "$* says '$said', not '$wanted'"
}
start() {
  "$SRSYNC" --config "$HOME_DIR/config.yaml" daemon --node-name worker-1 --socket "$SOCKET" "$@" 2>>"$HOME_DIR/log" &
  DAEMON=$!
  for _ in $(seq 300); do grep -q 'ready: ' "$HOME_DIR/log" && return; sleep .1; done
  fail "the daemon does not become ready"
}
stop() { kill "$DAEMON"; wait "$DAEMON" || true; DAEMON=; : >"$HOME_DIR/log"; }
condition() {
  "$SRSYNC" --config "$HOME_DIR/config.yaml" -o json --socket "$SOCKET" status |
    python3 -c 'import json, sys; print(*[s["condition"] for s in json.load(sys.stdin)["daemon"]["sources"] if s["path"] == "kube"])'
}

# group, version, and what its spec and status may hold
crd() {
  kubectl get crd "staticroutes.$1" >/dev/null 2>&1 && return
  kubectl apply -f - >/dev/null <<YAML
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: staticroutes.$1}
spec:
  group: $1
  scope: Cluster
  names: {kind: StaticRoute, plural: staticroutes, singular: staticroute, listKind: StaticRouteList}
  versions:
  - name: $2
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
YAML
  kubectl wait --for=condition=Established "crd/staticroutes.$1" >/dev/null
}
# As a flow mapping kubectl takes it for JSON, but not behind a line of dashes.
native() {
  echo "---"
  echo "{apiVersion: srsync.dev/v1alpha1, kind: StaticRoute, metadata: {name: $1}, spec: {destinations: [$2], gateway: $3}}"
}
ibm() {
  echo "---"
  echo "{apiVersion: static-route.ibm.com/v1, kind: StaticRoute, metadata: {name: $1, finalizers: [finalizer.static-route.ibm.com]}, \
spec: {subnet: $2, gateway: 10.91.1.2}}"
}
hosts() { kubectl get "staticroutes.static-route.ibm.com/$1" -o 'jsonpath={.status.nodeStatus[*].hostname}'; }

ip link set lo up
for n in 1 2; do
  ip link delete "objs$n" 2>/dev/null || true
  ip link add "objs$n" type veth peer name "objs$n-peer"
  ip address add "10.91.$n.1/24" dev "objs$n"
  ip link set "objs$n" up; ip link set "objs$n-peer" up
done
crd srsync.dev v1alpha1
crd static-route.ibm.com v1

check "are routes, in every group that the cluster has"
native a 198.18.1.0/24 10.91.1.2 | kubectl apply -f - >/dev/null
ibm legacy 198.18.2.0/24 | kubectl apply -f - >/dev/null
start --kube-source
until_is "198.18.1.0/24 198.18.2.0/24 " ours
until_is Valid condition

check "change and go, and only what changed moves"
kubectl patch staticroutes.srsync.dev a --type=merge -p '{"spec":{"gateway":"10.91.2.2"}}' >/dev/null
until_is 1 bash -c "ip route show 198.18.1.0/24 | grep -c 'via 10.91.2.2'"
native b 198.18.3.0/24 10.91.1.2 | kubectl apply -f - >/dev/null
until_is "198.18.1.0/24 198.18.2.0/24 198.18.3.0/24 " ours
kubectl delete staticroutes.srsync.dev b >/dev/null
until_is "198.18.1.0/24 198.18.2.0/24 " ours

check "that are not valid keep their routes, and are named"
kubectl patch staticroutes.srsync.dev a --type=merge -p '{"spec":{"gateway":"10.91.2.300"}}' >/dev/null
until_is Invalid condition
[[ $(ours) == "198.18.1.0/24 198.18.2.0/24 " ]] || fail "routes are $(ours)"
grep -q 'kube:staticroutes.srsync.dev/a:[0-9]*:[0-9]*: ' "$HOME_DIR/log" || fail "the object is not named"
kubectl patch staticroutes.srsync.dev a --type=merge -p '{"spec":{"gateway":"10.91.1.2"}}' >/dev/null
until_is Valid condition

check "of the old operator are let go when the route is gone, and others' entries stay"
port=$((20000 + RANDOM % 20000))
kubectl proxy --port "$port" >/dev/null & PROXY=$!
status="http://127.0.0.1:$port/apis/static-route.ibm.com/v1/staticroutes/legacy/status"
merge() { curl -sf -X PATCH -H 'Content-Type: application/merge-patch+json' -d "$1" "$status" >/dev/null; }
for _ in $(seq 50); do curl -sf "$status" >/dev/null && break; sleep .1; done
merge '{"status":{"nodeStatus":[{"hostname":"worker-1","error":""},{"hostname":"worker-2","error":""}]}}'
kubectl delete staticroutes.static-route.ibm.com legacy --wait=false >/dev/null
until_is "198.18.1.0/24 " ours
until_is worker-2 hosts legacy
[[ $(kubectl get staticroutes.static-route.ibm.com legacy -o 'jsonpath={.metadata.finalizers}') == *static-route.ibm.com* ]] ||
  fail "the finalizer went before the last node"
merge '{"status":{"nodeStatus":[]}}'
until_is "" kubectl get staticroutes.static-route.ibm.com -o name
kill "$PROXY"

check "come in several pages"
for n in $(seq 300); do native "many-$n" "198.19.$((n / 250)).$((n % 250))/32" 10.91.1.2; done |
  kubectl create -f - >/dev/null
until_is 301 bash -c 'ip -4 route show proto 83 | wc -l'
stop; start --kube-source
until_is Valid condition
[[ $(ip -4 route show proto 83 | wc -l) == 301 ]] || fail "a restart changed routes"
grep -q ' INFO \(added\|removed\) ' "$HOME_DIR/log" && fail "a restart changed something"

check "that nobody can read take nothing away"
stop
sed 's#server: [^,}]*#server: "https://127.0.0.1:1"#' "$KUBECONFIG" >"$HOME_DIR/nowhere"
KUBECONFIG=$HOME_DIR/nowhere start --kube-source=srsync.dev,static-route.ibm.com
until_is Unreadable condition
[[ $(ip -4 route show proto 83 | wc -l) == 301 ]] || fail "routes went"
stop

check "are written as files that are read again"
"$SRSYNC" --config "$HOME_DIR/config.yaml" import --kube >"$HOME_DIR/files.yaml" 2>/dev/null
"$SRSYNC" --config "$HOME_DIR/config.yaml" validate "$HOME_DIR/files.yaml" | grep -q '301 documents' || fail "not all were written"
grep -q 'uid\|managedFields\|resourceVersion\|last-applied\|finalizers' "$HOME_DIR/files.yaml" && fail "what the cluster adds was written"

check "of a group that comes later are found"
start --kube-source
kubectl delete staticroutes.srsync.dev --all >/dev/null
native a 198.18.1.0/24 10.91.1.2 | kubectl apply -f - >/dev/null
until_is "198.18.1.0/24 " ours
crd networking.digitalocean.com v1
echo "---
{apiVersion: networking.digitalocean.com/v1, kind: StaticRoute, metadata: {name: late}, \
spec: {destinations: [198.18.4.0/24], gateway: 10.91.1.2}}" | kubectl apply -f - >/dev/null
until_is "198.18.1.0/24 198.18.4.0/24 " ours

check "of the other operator are let go, too"
kubectl patch staticroutes.networking.digitalocean.com late --type=merge \
  -p '{"metadata":{"finalizers":["kopf.zalando.org/KopfFinalizerMarker"]}}' >/dev/null
kubectl delete staticroutes.networking.digitalocean.com late --wait=false >/dev/null
until_is "198.18.1.0/24 " ours
until_is "" kubectl get staticroutes.networking.digitalocean.com -o name
echo "objects: all as it should be"
