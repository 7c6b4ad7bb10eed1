"""The one kind of error that is the user's to mend."""


class UserError(ValueError):
    """Bad input, configuration or storage: its message says what was found and what was expected.

    A job prints it as one line and ends with exit code 2. Anything else that is raised is a bug.
    """

    @classmethod
    def of(cls, problems: list[str]) -> "UserError":
        """One error for several mistakes, so that the user mends all of them at once."""
        if len(problems) == 1:
            return cls(problems[0])
        listed = "".join(f"\n  - {problem}" for problem in problems)
        return cls(f"{len(problems)} mistakes:{listed}")
