"""The provider as users get it, a wheel, on every version of Airflow that it is for."""
