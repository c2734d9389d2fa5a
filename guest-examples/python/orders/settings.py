"""What this worker takes from the config reader `site-settings`, with defaults for a host that has none."""

from dataclasses import dataclass

from wit_world.imports import store


@dataclass(frozen=True)
class Settings:
    greeting: str
    currency: str
    max_amount_cents: int

    @staticmethod
    def read() -> "Settings":
        """No round trip: the host keeps one snapshot for the whole run."""
        return Settings(
            greeting=setting("greeting", "hello"),
            currency=setting("currency", "EUR"),
            max_amount_cents=int(setting("max_amount_cents", 2**63 - 1)),
        )


def setting(name, default):
    value = store.get(f"site-settings.{name}")
    return default if value is None else value
