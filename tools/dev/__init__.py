"""The whole system on one machine: private servers, provisioning, services. Behind `./dev`."""
