"""Which token prefixes are resident in the KV cache, who holds them, and which to let go of. Pure.

Theory of operation. A slot is one of llama.cpp's sequences; a KV cell can belong to several of them, so that sharing a
prefix costs nothing. The tree below mirrors the cells: every node is a run of tokens computed once, in cells that belong
to all its `holders`; whoever holds a node holds all nodes above it.

    root ── "You are" {0,1,2} ┬─ " a poet." {0}
                              └─ " a cook. " {1,2} ── "Say" {2}

What a running sequence computes stays its own until it is published; then others can share it, and when the sequence has
left its slot stays behind, idle, until cells or slots are wanted for something else: the least recently used goes first.
What a token leaves in its cell depends on the LoRA adapter that computed it: each adapter has a tree of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain


@dataclass(frozen=True, slots=True)
class Copy:
    """The cells of `source` at positions [start, stop) belong to `target`, too."""

    source: int
    target: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Drop:
    """The cells of `slot` at positions [start, stop) do not belong to it any more; stop None: to the end."""

    slot: int
    start: int = 0
    stop: int | None = None


@dataclass(frozen=True, slots=True)
class Shift:
    """Positions [start, stop) of `slot` become `by` less."""

    slot: int
    start: int
    stop: int
    by: int


Move = Copy | Drop | Shift


@dataclass(frozen=True, slots=True)
class Match:
    """The first `length` tokens are resident, and `slot` holds them."""

    length: int
    slot: int | None = None


class _Node:
    __slots__ = ("children", "holders", "parent", "reused", "tokens")

    def __init__(self, tokens: Sequence[int], parent: _Node | None) -> None:
        self.tokens = list(tokens)
        self.parent = parent
        self.children: dict[int, _Node] = {}
        self.holders: set[int] = set()
        #: Somebody has shared it: others may, too.
        self.reused = False


class Prefixes:
    """The trees. They know slots and tokens; the moves they answer with are somebody else's to make, in order."""

    def __init__(self) -> None:
        #: By adapter; "" is the model as it is.
        self._roots: dict[str, _Node] = {"": _Node((), None)}
        #: slot -> the last node it holds, and how many tokens lead there
        self._ends: dict[int, tuple[_Node, int]] = {}
        #: Slots that nobody runs in, least recently used first, with the time (`now`) of their last use.
        self._idle: OrderedDict[int, int] = OrderedDict()
        #: Idle slots that hold nothing any more but what was reused.
        self._faded: set[int] = set()
        #: The caller's clock; any number that grows.
        self.now = 0
        #: Cells in the tree: each node's once, however many hold it.
        self.cells = 0

    @property
    def idle(self) -> tuple[int, ...]:
        """Slots that hold something and run nothing, least recently used first."""
        return tuple(self._idle)

    @property
    def idle_cells(self) -> int:
        """Cells that only idle slots hold."""
        nodes = chain.from_iterable(map(self._nodes, self._roots.values()))
        return sum(len(node.tokens) for node in nodes if node.holders <= self._idle.keys())

    def held(self, slot: int) -> int:
        """How many tokens of the tree a slot holds."""
        return self._ends[slot][1] if slot in self._ends else 0

    def match(self, tokens: Sequence[int], adapter: str = "") -> Match:
        """The longest resident prefix that the adapter computed."""
        node, length, inside = self._walk(self._root(adapter), tokens)
        if inside:
            # Part of a child's run: whoever holds all of it holds the part.
            node = node.children[tokens[length]]
            length += inside
        return Match(length, min(node.holders)) if length else Match(0)

    def share(self, slot: int, tokens: Sequence[int], match: Match) -> list[Move]:
        """`slot`, which holds nothing beyond, takes over the first `match.length` tokens."""
        start = self.held(slot)
        if match.length <= start:
            return []
        assert match.slot is not None
        self.touch(match.slot)
        end = self._node_at(_path(self._ends[match.slot][0])[-1], tokens[: match.length])
        for node in _path(end):
            node.reused = True
        self._hold(slot, end, match.length)
        return [Copy(match.slot, slot, start, match.length)]

    def publish(self, slot: int, tokens: Sequence[int], adapter: str = "") -> list[Move]:
        """`slot` has computed these tokens beyond what it holds, all with this adapter: from now on others may share them.

        Where another slot had computed the same meanwhile, this one takes over the other's cells and frees its own.
        """
        start = self.held(slot)
        assert start <= len(tokens)
        moves: list[Move] = []
        match = self.match(tokens, adapter)
        if match.length > start:
            assert match.slot is not None
            moves += [Drop(slot, start, match.length), Copy(match.slot, slot, start, match.length)]
        node = self._node_at(self._root(adapter), tokens[: max(match.length, start)])
        if len(tokens) > max(match.length, start):
            run = tokens[max(match.length, start) :]
            child = node.children[run[0]] = _Node(run, node)
            self.cells += len(run)
            node = child
        self._hold(slot, node, len(tokens))
        return moves

    def rest(self, slot: int) -> list[Move]:
        """Nobody runs in the slot any more: it stays behind, unless others hold all it holds."""
        node, length = self._end(slot)
        if not length or node.holders != {slot} or node.children:
            return self.release(slot)
        self._idle[slot] = self.now
        # Those on the way to it say nothing that it does not.
        moves: list[Move] = []
        above = set(_path(node))
        for other in [slot for slot in self._idle if self._ends[slot][0] in above and self._ends[slot][0] is not node]:
            moves += self.release(other)
        return moves

    def trim(self, slot: int, length: int) -> None:
        """The slot lets go of what it holds beyond so many tokens; its cells are the caller's to drop."""
        end, held = self._end(slot)
        if held <= length:
            return
        path = [node for node in reversed(_path(end)) if node.parent is not None]
        self._forget(slot)
        reached = 0
        last = end
        for node in path:
            if reached >= length:
                break
            # A holder of the whole run holds both halves.
            last = node if reached + len(node.tokens) <= length else self._split(node, length - reached)
            last.holders.add(slot)
            reached += len(last.tokens)
        if reached:
            self._ends[slot] = (last, reached)
        self._prune(path[::-1])

    def release(self, slot: int) -> list[Move]:
        """The slot holds nothing any more and may be used for something else."""
        end, _ = self._end(slot)
        path = _path(end)
        self._forget(slot)
        self._prune(path)
        self._idle.pop(slot, None)
        self._faded.discard(slot)
        return [Drop(slot)]

    def evict(self) -> tuple[int, list[Move]] | None:
        """Releases the idle slot least recently used; None when there is none."""
        slot = next(iter(self._idle), None)
        return None if slot is None else (slot, self.release(slot))

    def fade(self, *, fresh: int, reused: int) -> tuple[list[int], list[Move]]:
        """Lets go of what idle slots hold for nobody: all that was last of use before `reused`, and of what was before
        `fresh` all that was never shared. Answers the slots that are free now, too.
        """
        free: list[int] = []
        moves: list[Move] = []
        for slot, used in list(self._idle.items()):
            if used >= fresh:
                break
            end, _ = self._ends[slot]
            length = 0 if used < reused else sum(len(node.tokens) for node in _path(end) if node.reused)
            kept = next((node for node in _path(end) if node.reused), end)
            if not length or (kept is not end and kept.holders != {slot}):
                moves += self.release(slot)
                free.append(slot)
            elif slot not in self._faded:
                self._faded.add(slot)
                self.trim(slot, length)
                moves.append(Drop(slot, length))
        return free, moves

    # -- the tree -------------------------------------------------------------------------------------------------------

    def _root(self, adapter: str) -> _Node:
        return self._roots.get(adapter) or self._roots.setdefault(adapter, _Node((), None))

    def _end(self, slot: int) -> tuple[_Node, int]:
        """The last node a slot holds, and how many tokens lead there; any root for one that holds nothing."""
        return self._ends.get(slot) or (self._roots[""], 0)

    def _walk(self, root: _Node, tokens: Sequence[int]) -> tuple[_Node, int, int]:
        """The last node all of whose run matches, how many tokens lead there, and how many of a child's match beyond."""
        node, length = root, 0
        while length < len(tokens):
            child = node.children.get(tokens[length])
            if child is None:
                break
            same = common_length(child.tokens, tokens, length)
            if same < len(child.tokens):
                return node, length, same
            node, length = child, length + same
        return node, length, 0

    def _node_at(self, root: _Node, tokens: Sequence[int]) -> _Node:
        """The node that ends exactly behind these resident tokens; one that goes on is cut in two."""
        node, _, inside = self._walk(root, tokens)
        return self._split(node.children[tokens[len(tokens) - inside]], inside) if inside else node

    def _split(self, node: _Node, at: int) -> _Node:
        """Cuts a run in two; answers the first half, which the old node hangs below."""
        assert node.parent is not None
        head = _Node(node.tokens[:at], node.parent)
        head.holders, head.reused = set(node.holders), node.reused
        node.parent.children[head.tokens[0]] = head
        node.tokens = node.tokens[at:]
        node.parent = head
        head.children[node.tokens[0]] = node
        return head

    def _hold(self, slot: int, end: _Node, length: int) -> None:
        for node in _path(end):
            node.holders.add(slot)
        self._ends[slot] = (end, length)

    def _forget(self, slot: int) -> None:
        end, _ = self._end(slot)
        self._ends.pop(slot, None)
        for node in _path(end):
            node.holders.discard(slot)

    def _prune(self, path: Sequence[_Node]) -> None:
        """Nodes that nobody holds have no cells."""
        for node in path:
            if node.parent is not None and not node.holders and node.parent.children.get(node.tokens[0]) is node:
                assert not node.children
                del node.parent.children[node.tokens[0]]
                self.cells -= len(node.tokens)

    def touch(self, slot: int | None) -> None:
        """The slot was of use just now."""
        if slot is not None and slot in self._idle:
            self._idle[slot] = self.now
            self._idle.move_to_end(slot)

    def _nodes(self, node: _Node) -> Iterator[_Node]:
        for child in node.children.values():
            yield child
            yield from self._nodes(child)


def _path(end: _Node) -> list[_Node]:
    """From the node up to the root."""
    path: list[_Node] = []
    node: _Node | None = end
    while node is not None:
        path.append(node)
        node = node.parent
    return path


def common_length(run: Sequence[int], tokens: Sequence[int], start: int = 0) -> int:
    """How many tokens of `run` stand in `tokens` from `start` on. By halving, since slices compare at C's speed."""
    low, high = 0, min(len(run), len(tokens) - start)
    if run[:high] == tokens[start : start + high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if run[low:middle] == tokens[start + low : start + middle]:
            low = middle
        else:
            high = middle
    return low
