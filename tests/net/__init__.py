"""Tests of tunnelctl.net."""
