# Everything is done by lab/lab.py; these are its short names. `make` alone shows them.
LAB := python3 -B lab/lab.py

.DEFAULT_GOAL := help
.PHONY: help demo up down clean-lab distclean test lint unit floor sanity ee reference sources clients molecule test-long test-vm test-driver bench fuzz lock docs tables venv engine

help: ## Shows these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Builds the lab, brings up the fleet on it and shows its state
	@$(LAB) demo

up: ## Builds and starts the lab's hosts, without running a playbook
	@$(LAB) up

down: ## Removes the lab's hosts and network, and keeps what was built
	@$(LAB) down

clean-lab: ## Removes all that the lab made: containers, network, images, generated files
	@$(LAB) clean

distclean: ## Removes that, .venv and the TensorFlow runtime
	@$(LAB) distclean

test: ## Runs all tests: lint, unit, reference server, sources, Molecule scenarios
	@$(LAB) test

lint: ## Runs the linters
	@$(LAB) test lint

unit: ## Runs the unit tests
	@$(LAB) test unit

floor: ## Runs what meets ansible-core with the oldest and the newer ones, or one: make floor CORE=2.21
	@$(LAB) test floor $(if $(CORE),--core $(CORE))

sanity: ## Runs ansible-test, galaxy-importer and the docs site's build on the collection as published
	@$(LAB) test sanity $(if $(CORE),--core $(CORE))

ee: ## Builds an execution environment, and runs plan and site --check in it as AWX would
	@$(LAB) test ee

reference: ## Runs the reference server's tests
	@$(LAB) test reference

sources: ## Runs the tests of sources against a real MLflow server and moto's S3
	@$(LAB) test sources

clients: ## Runs the clients' tests in all languages; `make test` runs Python's
	@$(LAB) test clients

molecule: ## Runs the Molecule scenarios, or one: make molecule SCENARIO=default
	@$(LAB) test molecule $(if $(SCENARIO),--scenario $(SCENARIO))

test-long: ## Runs whole the scenarios and simulations of which `make test` runs a sample
	@$(LAB) test long

test-vm: ## Runs the scenarios of the host layer on a kernel of its own, in a virtual machine
	@$(LAB) test vm

test-driver: ## Builds the NVIDIA driver for a real kernel, and runs its scenario on Debian 12
	@$(LAB) test driver

fuzz: ## Plans 50,000 inventories at random, or make fuzz FUZZ="--inventories 1000 --seed 1"
	@$(LAB) fuzz -- "$(FUZZ)"

bench: ## Runs the benchmarks, or one: make bench NAME=...
	@$(LAB) bench $(NAME)

lock: ## Pins the Python requirements, after a change of requirements/*.in
	@$(LAB) lock

docs: ## Writes the roles' READMEs from their argument specs
	@$(LAB) docs

tables: ## Writes the tables of the server's flags and messages from tools/survey/
	@$(LAB) tables

venv: ## Installs the tools into .venv
	@$(LAB) venv

engine: ## Makes the container engine run
	@$(LAB) engine
