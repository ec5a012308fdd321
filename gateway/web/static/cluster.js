// What operators see in the console: the nodes, what each has in memory, and what is on its way to Kafka.
import { $, call, el, errors, retrying, toast } from "./api.js";

export async function loadCluster() {
  const { members, outbox } = await call("{ members { id name address state version since actors { kind active } } outbox { topic pending oldestMs published } }");
  $("#members").replaceChildren(...members.map((m) => el("tr", {},
    el("th", { scope: "row", title: m.id }, m.name), el("td", {}, el("span", { class: "state", "data-state": m.state }, m.state.toLowerCase())), el("td", {}, m.address || "alone"),
    el("td", {}, new Date(m.since).toLocaleString()), el("td", {}, m.version), el("td", {}, m.actors.filter((a) => a.active > 0).map((a) => `${a.active} ${a.kind}`).join(", ") || "–"),
    el("td", {}, m.address && m.state === "UP" ? el("button", { class: "plain", onclick: () => drain(m) }, "Drain") : null))));
  $("#outbox").replaceChildren(...outbox.map((t) => el("tr", {},
    el("th", { scope: "row" }, t.topic), el("td", { class: "num" }, String(t.pending)), el("td", { class: "num" }, t.pending > 0 ? `${(t.oldestMs / 1000).toFixed(1)} s` : "–"), el("td", { class: "num" }, String(t.published)))));
}

async function drain(member) {
  if (!confirm(`${member.name} hands over what it has and ends. Go on?`)) return;
  try {
    const payload = await retrying(`mutation($input: DrainMemberInput!) { drainMember(input: $input) { member { state } ${errors} } }`, { input: { id: member.id } }, "drainMember");
    toast(payload.userErrors[0]?.message ?? `${member.name} is asked to drain.`, payload.userErrors.length > 0);
    await loadCluster();
  } catch (e) { toast(e.message, true); }
}
