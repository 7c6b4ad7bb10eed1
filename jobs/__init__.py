"""What `ray job submit -- python -m jobs.NAME` runs; thin: flags, Ray, one call, the result."""
