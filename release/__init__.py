"""What is done for a release beside building it: licences of dependencies, and their known vulnerabilities."""
