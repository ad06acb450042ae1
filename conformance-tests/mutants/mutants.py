"""Runs the mutants that `cargo mutants` lists without a build for each: all of a package in one program, switched on one by one.

A function with mutants gets their bodies before its own, each behind a question for the number in SEGLOSS_MUTANT; what does not
compile is taken out again. What cannot be asked while the program runs (constants, functions that return `impl`) is built alone.

docs/mutants.md has the commands, and what was found. Needs cargo-mutants and Linux; writes nothing outside of --work.
"""

import argparse
import concurrent.futures
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

SWITCH = """
static ON: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(u32::MAX);

#[doc(hidden)]
pub fn __mutant(first: u32, last: u32) -> bool {
    #[cold]
    fn read() -> u32 {
        let on = std::env::var("SEGLOSS_MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        ON.store(on, std::sync::atomic::Ordering::Relaxed);
        on
    }
    let on = ON.load(std::sync::atomic::Ordering::Relaxed);
    (first..=last).contains(&if on == u32::MAX { read() } else { on })
}

#[doc(hidden)]
#[cold]
#[inline(never)]
pub fn __cold<R>(body: impl FnOnce() -> R) -> R {
    body()
}
"""

HEAD = "#![allow(warnings)]\n"

WORKSPACE = pathlib.Path(__file__).resolve().parents[2]


class Mutant:
    def __init__(self, listed, text):
        self.name, self.file, self.at = listed["name"], listed["file"], 0
        self.reason = None  # why it is not viable
        starts = [0]
        for line in text.split("\n"):
            starts.append(starts[-1] + len(line) + 1)
        span = lambda of: [starts[of["span"][end]["line"] - 1] + of["span"][end]["column"] - 1 for end in ("start", "end")]
        first, last = span(listed)
        self.whole = text[:first] + listed["replacement"] + text[last:]
        function = listed.get("function")
        self.alone = not function or "impl " in (function["return_type"] or "")
        if self.alone:
            return
        begin, end = span(function)
        head = body_of(text[begin:end], function["function_name"])
        self.alone = re.search(r"\bconst\s+(unsafe\s+)?fn\b", text[begin : begin + head]) is not None
        mutated = self.whole[begin : end + len(self.whole) - len(text)]
        self.at, self.closed = begin + head + 1, True
        self.body = mutated[body_of(mutated, function["function_name"]) : mutated.rindex("}") + 1]

    def inserted(self):
        return f"\nif crate::__mutant({self.number}, {self.number}) {{ return {self.body}; }}"


def body_of(text, name):
    """Where the body of a function begins in its own text: at the first brace after its name that stands in no other bracket."""
    at = re.search(r"\bfn\s+" + re.escape(name.split("::")[-1]) + r"\b", text).end()
    depth = 0
    while depth or text[at] != "{":
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(text[at], 0)
        at += 1
    return at


def write(tree, sources, mutants, root):
    """Writes the sources with all mutants that are left; returns which lines of a file each of them takes."""
    lines = {}
    for file, text in sources.items():
        out, at, lines[file] = HEAD if file == root else "", 0, []

        def insert(mutant):
            nonlocal out
            first = out.count("\n") + 2
            out += mutant.inserted()
            lines[file].append((first, out.count("\n") + 1, mutant))

        here = [m for m in mutants if m.file == file and not (m.reason or m.alone)]
        for place, of_function in itertools.groupby(sorted(here, key=lambda m: m.number), key=lambda m: m.at):
            out, at, of_function = out + text[at:place], place, list(of_function)
            # As closures, so that the function stays small and fast; some compile only outside of one.
            closed = [m for m in of_function if m.closed]
            if closed:
                out += f"\nif crate::__mutant({closed[0].number}, {closed[-1].number}) {{ return crate::__cold(|| {{"
                lines[file] += [(out.count("\n") + 1, out.count("\n") + 1, mutant) for mutant in closed]
                for mutant in closed:
                    insert(mutant)
                out += "\nunreachable!() }); }"
            for mutant in of_function:
                if not mutant.closed:
                    insert(mutant)
            out += "\n"
        out += text[at:] + (SWITCH if file == root else "")
        if out != (tree / file).read_text():
            (tree / file).write_text(out)
    return lines


def cargo(command, package, tree, target):
    """What cargo says of a build, message by message; no error where it succeeds."""
    # Not optimised: the compiler would take an hour for so many functions.
    options = ["--message-format=json", "--config", f'profile.dev.package.{package}.opt-level=0', "--config", "profile.dev.debug=0"]
    done = subprocess.run(["cargo", *command, *options], cwd=tree, env=dict(os.environ, CARGO_TARGET_DIR=str(target)), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    errors = [m["message"] for m in messages if m["reason"] == "compiler-message" and m["message"]["level"] == "error"]
    if done.returncode and not errors:
        raise SystemExit(done.stderr)
    return messages, errors


def weed(package, tree, target, sources, mutants, commands):
    """Writes the tree, without what does not compile in any of the commands."""
    for command in commands:
        while True:
            lines = write(tree, sources, mutants, f"{package}/src/lib.rs")
            _, errors = cargo(command, package, tree, target)
            if not errors:
                break
            bad = set()
            for span in (span for error in errors for span in error["spans"]):
                while span:
                    bad.update(m for first, last, m in lines.get(span["file_name"], []) if first <= span["line_start"] <= last)
                    span = (span["expansion"] or {}).get("span")
            if not bad:
                raise SystemExit("\n".join(error["rendered"] for error in errors))
            for mutant in bad:
                mutant.reason = None if mutant.closed else "does not compile"
                mutant.closed = False
            print(f"{len(bad)} do not compile as they are", flush=True)


def build(package, tree, target, tests):
    """The programs of the tests, each with the folder it is to run in; nothing where they do not compile."""
    programs = []
    for test in tests:
        messages, errors = cargo(["test", "--no-run", *test.split()], package, tree, target)
        if errors:
            return None
        programs += [[str(pathlib.Path(m["manifest_path"]).parent), m["executable"]]
                     for m in messages if m.get("executable") and m["profile"]["test"]]
    return programs


def verdict(programs, number, arguments):
    """What the tests say of a mutant: the first of them that fails, or nothing."""
    # A function with all its mutants takes far more of the stack than without.
    environment = dict(os.environ, SEGLOSS_MUTANT=str(number), CONFORMANCE_FAIL_FAST="1", RUST_MIN_STACK=str(256 << 20))
    for variant in arguments.variant or [""]:
        key, _, value = variant.partition("=")
        chosen = dict(environment, **{key: value}) if key else environment
        for folder, program in programs:
            name = pathlib.Path(program).name.rsplit("-", 1)[0]
            command = ["prlimit", f"--as={arguments.memory << 30}", program, "--quiet"]
            command += [part for skip in arguments.skip for part in ("--skip", skip)]
            try:
                done = subprocess.run(command, cwd=folder, env=chosen, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      text=True, errors="replace", timeout=arguments.timeout)
            except subprocess.TimeoutExpired:
                return f"{name}: not within {arguments.timeout} s"
            if done.returncode:
                failed = re.search(r"^---- (\S+)|^(.+)\nCONFORMANCE_FAIL_FAST", done.stdout, re.M)
                return f"{name}: {failed[1] or failed[2] if failed else f'exit {done.returncode}, {done.stdout[-300:]}'}"
    return None


def prepare(arguments, work):
    """Lists the mutants, and builds the tests with them."""
    files = [("--file", glob) for glob in arguments.file] + [("--exclude", glob) for glob in arguments.exclude]
    command = ["cargo", "mutants", "--list", "--json", "-p", arguments.package, *itertools.chain(*files)]
    listed = json.loads(subprocess.run(command, cwd=WORKSPACE, check=True, stdout=subprocess.PIPE).stdout)
    for tree in (work / "tree", work / "alone"):
        shutil.rmtree(tree, ignore_errors=True)
        shutil.copytree(WORKSPACE, tree, ignore=shutil.ignore_patterns("target", ".git"), symlinks=True)
        for edit in arguments.edit:
            subprocess.run(["sed", "-i", *edit.rsplit(" ", 1)], cwd=tree, check=True)
    folder = work / "alone" / arguments.package / "src"
    sources = {str(path.relative_to(work / "alone")): path.read_text() for path in folder.glob("**/*.rs")}
    mutants = sorted((Mutant(m, sources[m["file"]]) for m in listed), key=lambda m: (m.file, m.at))
    for i, mutant in enumerate(mutants):
        mutant.number = i + 1
    manifest = work / "tree" / arguments.package / "Cargo.toml"
    manifest.write_text(manifest.read_text().replace("[lints]\nworkspace = true", ""))
    commands = [["check", "-p", arguments.package], *(["test", "--no-run", *test.split()] for test in arguments.test)]
    weed(arguments.package, work / "tree", work / "target", sources, mutants, commands)
    programs = build(arguments.package, work / "tree", work / "target", arguments.test)
    return {"programs": programs, "mutants": [vars(m) for m in mutants]}


def built_alone(mutant, arguments, work):
    """The same of a mutant that is built by itself."""
    file = work / "alone" / mutant.file
    original = file.read_text()
    file.write_text(mutant.whole)
    programs = build(arguments.package, work / "alone", work / "target-alone", arguments.test)
    mutant.reason = None if programs else "does not compile"
    found = verdict(programs, 0, arguments) if programs else None
    file.write_text(original)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", help="whose mutants; also its folder")
    parser.add_argument("--test", action="append", required=True, help="arguments of `cargo test` that name tests: '-p loss-core --tests'")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="where the copies, their builds and found.json go")
    parser.add_argument("--edit", action="append", default=[], metavar="'SED FILE'", help="a change to the copies before all else")
    parser.add_argument("--file", action="append", default=[], metavar="GLOB", help="only the mutants of these files")
    parser.add_argument("--exclude", action="append", default=[], metavar="GLOB", help="files to leave out")
    parser.add_argument("--skip", action="append", default=["large/"], help="tests to leave out, by a part of their names")
    parser.add_argument("--variant", action="append", metavar="NAME=VALUE", help="a variable for the tests; several: one after another")
    parser.add_argument("--again", type=pathlib.Path, help="only what is alive in this found.json")
    parser.add_argument("--built", action="store_true", help="with the build that is there")
    parser.add_argument("--jobs", type=int, default=2, help="mutants that run at once")
    parser.add_argument("--timeout", type=int, default=300, help="seconds that one program of tests may take")
    parser.add_argument("--memory", type=int, default=12, help="GiB of addresses that it may take")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)

    built = work / "built.json"
    if not arguments.built:
        built.write_text(json.dumps(prepare(arguments, work)))
    state = json.loads(built.read_text())
    mutants = [argparse.Namespace(**m) for m in state["mutants"]]
    if arguments.again:
        alive = {m["name"] for m in json.loads(arguments.again.read_text()) if m["viable"] and not m["caught"]}
        mutants = [m for m in mutants if m.name in alive]

    # The quickest programs first: most mutants are caught by them.
    took = {}
    for folder, program in state["programs"]:
        begin = time.time()
        failed = verdict([[folder, program]], 0, arguments)
        took[program] = time.time() - begin
        if failed:
            raise SystemExit(f"without any mutant: {failed}")
    programs = sorted(state["programs"], key=lambda each: took[each[1]])
    print("seconds without any mutant:", {pathlib.Path(p).name: round(took[p], 1) for _, p in programs}, flush=True)

    found, begin = [], time.time()

    def note(mutant, caught):
        found.append({"name": mutant.name, "viable": not mutant.reason, "caught": caught})
        if not (mutant.reason or caught):
            print("alive:", mutant.name, flush=True)
        (work / "found.json").write_text(json.dumps(found, indent=1))

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        running = {pool.submit(verdict, programs, m.number, arguments): m for m in mutants if not (m.reason or m.alone)}
        for done in concurrent.futures.as_completed(running):
            note(running[done], done.result())
    for mutant in (m for m in mutants if m.reason or m.alone):
        note(mutant, None if mutant.reason else built_alone(mutant, arguments, work))
    viable = sum(m["viable"] for m in found)
    alive = sum(m["viable"] and not m["caught"] for m in found)
    print(f"{len(found)} mutants, {viable} viable, {viable - alive} caught, {alive} alive ({100 * alive / max(1, viable):.1f} %), "
          f"in {time.time() - begin:.0f} s")


if __name__ == "__main__":
    main()
