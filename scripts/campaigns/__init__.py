"""What a cluster does to a server in a bad year, one campaign per module; ``scripts/campaign_serving.py`` runs them."""
