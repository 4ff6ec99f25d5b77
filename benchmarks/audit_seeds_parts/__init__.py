"""What the seeds of benchmarks/audit_seeds.py are made of: cases, their records, and how these are written."""
