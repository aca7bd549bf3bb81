"""The tab *Pictures* in Airflow's UI (3.1 and later)."""
