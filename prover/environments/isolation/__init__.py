"""Protection from untrusted tactics: the refusal list, and the sandbox around Lean."""
