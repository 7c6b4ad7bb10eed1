"""What `ray job submit -- python -m jobs.NAME` runs; each is thin: flags, Ray, one call, where the result is."""
