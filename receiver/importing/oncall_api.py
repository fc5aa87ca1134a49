"""Reads Grafana OnCall's public API: grafana.com/docs/oncall/latest/oncall-api-reference. I/O."""

from datetime import datetime, timedelta

from receiver.importing.answers import Answers, Api, identities, next_link, part

# Of several pages; `routes` and others are filtered by nothing, so that they are read once.
_LISTS = {
    "users": {},
    "teams": {},
    "schedules": {},
    "on_call_shifts": {},
    "shift_swaps": {"starting_after": "2000-01-01T00:00:00Z"},  # else only those to come
    "escalation_chains": {},
    "escalation_policies": {},
    "integrations": {},
    "routes": {},
    "personal_notification_rules": {},
}
FINAL_SHIFTS = "final_shifts"
NAMES = frozenset({*_LISTS, FINAL_SHIFTS})


def headers(token: str, grafana_url: str) -> dict[str, str]:
    """Give what each request carries; a service account's token needs the address of its Grafana, too."""
    return {"Authorization": token} | ({"X-Grafana-URL": grafana_url} if grafana_url else {})


async def read(api: Api, now: datetime, days: int) -> Answers:
    """Read everything, and the final schedules of so many days."""
    answers = Answers()
    for name, parameters in _LISTS.items():
        answers[name] = await api.pages(f"api/v1/{name}/", parameters, items="results", following=next_link)
    period = {"start_date": f"{now:%Y-%m-%d}", "end_date": f"{now + timedelta(days=days + 1):%Y-%m-%d}"}

    async def final(identity: str) -> object:
        answer = await api.get(f"api/v1/schedules/{part(identity)}/final_shifts", period)  # all of it is one page
        return answer.get("results", [])

    schedules = identities(answers["schedules"], "Grafana OnCall: schedules")
    return answers | {FINAL_SHIFTS: await api.each(schedules, final)}
