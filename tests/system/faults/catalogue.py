"""The list of all faults."""

from __future__ import annotations

from . import by_clients, by_guests, by_operators, by_systems
from .fault import Fault

FAULTS = (
    Fault("guests that loop", by_guests.loops),
    Fault("guests that sleep", by_guests.sleeps),
    Fault("memory bombs", by_guests.memory_bombs),
    Fault("traps", by_guests.traps),
    Fault("floods of stdout", by_guests.floods_of_stdout),
    Fault("floods of stderr", by_guests.floods_of_stderr),
    Fault("slow heads", by_clients.slow_heads),
    Fault("slow bodies", by_clients.slow_bodies),
    Fault("slow readers", by_clients.slow_readers),
    Fault("aborted uploads", by_clients.aborted_uploads),
    Fault("aborted downloads", by_clients.aborted_downloads),
    Fault("2,000 connections", by_clients.a_crowd),
    Fault("worker killed", by_operators.a_worker_is_killed, workers=2),
    Fault("storm of SIGHUP", by_operators.a_storm_of_hangups, workers=2),
    Fault("configuration broken", by_operators.a_broken_configuration, workers=2),
    Fault("cache deleted", by_systems.no_cache),
    Fault("cache read-only", by_systems.a_read_only_cache),
    Fault("cache full", by_systems.a_full_cache),
    Fault("temporary files full", by_systems.no_temporary_space),
    Fault("registry gone", by_systems.no_registry),
    Fault("descriptors used up", by_systems.no_descriptors),
    Fault("clock jumps", by_systems.a_jump_of_the_clock, has_clock=True),
)
