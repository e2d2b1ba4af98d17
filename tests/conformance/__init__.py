"""The proof that the conformance kit finds what is broken, and nothing else."""
