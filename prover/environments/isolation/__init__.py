"""What keeps untrusted tactics in: texts that are refused, and the sandbox around Lean."""
