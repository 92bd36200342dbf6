// A program that edits a record as an Automerge document: node edit.mjs WHAT FROM TO
import * as fs from "node:fs";
import * as Automerge from "@automerge/automerge";

const edits = {
  // Every kind of field, as programs in JavaScript write them.
  everything(tea) {
    tea.name = "green tea";
    tea.price = "2.75";
    tea.size = 12;
    tea.weight = 1.5;
    tea.organic = true;
    tea.since = new Date("2026-03-01T00:00:00Z");
    tea.picked = "2024-03-10T00:30:00.12345+01:00";
    tea.photo = new Uint8Array([1, 2, 3]);
    tea.stock.increment(-3);
    Automerge.splice(tea, ["notes"], 0, 0, "very ");
    tea.tags.splice(0, 1);
    tea.tags.push(7);
    tea.origin.land = "LK";
    tea.origin.visits.increment(1);
    tea.extra = { any: ["thing", 1] };
    delete tea.shelf;
  },
  further(tea) {
    tea.stock.increment(-1);
    Automerge.splice(tea, ["notes"], 5, 4, "fine");
    Automerge.splice(tea, ["name"], 0, 5, "white");
    tea.extra.any.push(2);
  },
  sell(tea) {
    tea.stock.increment(-5);
    tea.price = "3.00";
    Automerge.splice(tea, ["notes"], 0, 0, "a ");
  },
  wrong(tea) {
    tea.stock = 5;
    tea.size = "large";
    tea.price = "cheap";
  },
};

const [what, from, to] = process.argv.slice(2);
const before = Automerge.load(fs.readFileSync(from));
const after = Automerge.change(before, edits[what]);
fs.writeFileSync(to, Automerge.save(after));
