"""What a month costs: a model of what Lifeboat does in Azure, and list prices that an operator can replace."""
