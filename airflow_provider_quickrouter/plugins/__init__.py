"""What this provider adds to Airflow's UI (3.1+)."""
