"""Who is let in: API keys and what each allows, limits on requests per second, and what is refused."""
