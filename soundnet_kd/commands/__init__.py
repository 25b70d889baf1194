"""The commands, of which both the command line and the recipes are made."""

from soundnet_kd.commands.arguments import parse
from soundnet_kd.commands.parsers import parser_for
from soundnet_kd.commands.table import COMMANDS, Command, find, group

__all__ = ["COMMANDS", "Command", "find", "group", "parse", "parser_for"]
