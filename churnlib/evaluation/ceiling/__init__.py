"""The honest ceiling: what the best decision can show on new customers, from calibrated probabilities alone."""
