"""What has changed since a run was begun, told item by item: its data, its configuration, the code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.run import DIGITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MOST_NAMES = 3
_ABSENT = object()


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns what makes a run that goes on another run than the one that was begun; each item is half a sentence.

    Args:
        then: The run record, as it was when the run was begun.
        now: The record that a run would begin with now.
    """
    return [
        *_data_changes(then, now),
        *_value_changes("option", then["config"], now["config"]),
        *_value_changes("version of", then.get("packages", {}), now["packages"]),
        *_value_changes("plugin", then.get("plugins", {}), now["plugins"]),
        *_value_changes("source code of", then.get("sources", {}), now["sources"]),
    ]


def _data_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    was, is_ = then["data"], now["data"]
    if was.get("fingerprint") == is_["fingerprint"]:
        return []
    found = []
    if list(then["classes"]) != list(now["classes"]):
        found.append(f"classes: they were {', '.join(then['classes'])} and are {', '.join(now['classes'])}")
    for part in is_["split"]:
        before, after = _photos(was, part), _photos(is_, part)
        found += _named(f"{part} photos that are new", after.keys() - before.keys())
        found += _named(f"{part} photos that are gone", before.keys() - after.keys())
        both = before.keys() & after.keys()
        found += _named(f"{part} photos with another content or label", {n for n in both if before[n] != after[n]})
    return found or [f"data: its fingerprint was {str(was.get('fingerprint'))[:12]} and is {is_['fingerprint'][:12]}"]


def _photos(data: Mapping[str, Any], part: str) -> dict[str, str]:
    names, digests = data.get("split", {}).get(part, []), data.get("digests", {}).get(part, "")
    return {name: digests[DIGITS * place : DIGITS * (place + 1)] for place, name in enumerate(names)}


def _named(what: str, names: Iterable[str]) -> list[str]:
    listed = sorted(names)
    if not listed:
        return []
    more = f" and {len(listed) - _MOST_NAMES} more" if len(listed) > _MOST_NAMES else ""
    return [f"{what}: {', '.join(listed[:_MOST_NAMES])}{more}"]


def _value_changes(what: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{what} {name}: was {_told(then, name)}, is {_told(now, name)}"
        for name in dict.fromkeys((*then, *now))
        if then.get(name, _ABSENT) != now.get(name, _ABSENT)
    ]


def _told(values: Mapping[str, Any], name: str) -> str:
    return str(values[name]) if name in values else "not there"
