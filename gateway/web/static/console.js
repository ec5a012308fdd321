// The console: the stock of every SKU in its four states, as it is now, with adjustments; the newest orders, with what staff can do next with each. Sales
// are in sales.js, what only operators see in cluster.js.
import { $, call, el, errors, money, retrying, signedIn, signIn, signOut, toast } from "./api.js";
import { loadCluster } from "./cluster.js";
import { loadSales } from "./sales.js";

const cells = new Map(); // SKU → its row's cells by state

async function loadStock() {
  const rows = [];
  cells.clear();
  for (let after = null, more = true; more && rows.length < 200;) {
    const { products } = await call(`query($after: String) { products(first: 50, after: $after) {
      edges { node { name variants { sku name price { amount currency } stock { onHand available held committed unavailable } } } } pageInfo { hasNextPage endCursor } } }`, { after });
    for (const { node } of products.edges) for (const v of node.variants) rows.push(row(node, v));
    more = products.pageInfo.hasNextPage;
    after = products.pageInfo.endCursor;
  }
  $("#stock").replaceChildren(...rows);
}

function row(product, v) {
  const states = ["onHand", "available", "held", "committed", "unavailable"];
  const own = Object.fromEntries(states.map((s) => [s, el("td", { class: "num" }, String(v.stock[s]))]));
  cells.set(v.sku, own);
  const delta = el("input", { type: "number", value: "10", step: "1", "aria-label": `Units to add to ${v.sku}` });
  const adjust = async () => {
    const input = { idempotencyKey: crypto.randomUUID(), sku: v.sku, delta: Number(delta.value), reason: "Adjusted in the console" };
    try {
      const payload = await retrying(`mutation($input: AdjustStockInput!) { adjustStock(input: $input) { stock { sku } ${errors} } }`, { input }, "adjustStock");
      toast(payload.userErrors[0]?.message ?? `${v.sku} adjusted by ${input.delta}.`, payload.userErrors.length > 0);
      await refreshStock();
    } catch (e) { toast(e.message, true); }
  };
  return el("tr", {}, el("th", { scope: "row" }, v.sku), el("td", {}, v.name ? `${product.name}, ${v.name}` : product.name), el("td", { class: "num" }, money(v.price)),
    ...states.map((s) => own[s]), el("td", {}, el("div", { class: "row" }, delta, el("button", { class: "plain", onclick: adjust }, "Add"))));
}

async function refreshStock() {
  const all = [...cells.keys()];
  for (let i = 0; i < all.length; i += 100) {
    const { stock } = await call("query($skus: [String!]!) { stock(skus: $skus) { sku onHand available held committed unavailable } }", { skus: all.slice(i, i + 100) });
    for (const level of stock) if (level) for (const [state, cell] of Object.entries(cells.get(level.sku))) cell.textContent = level[state];
  }
}

async function loadOrders() {
  const { orders } = await call("{ orders(first: 25) { edges { node { id number state placedAt total { amount currency } lines { sku quantity } payment { state } allowedTransitions } } } }");
  $("#orders").replaceChildren(...orders.edges.map(({ node: o }) => el("tr", {},
    el("th", { scope: "row" }, o.number), el("td", {}, el("span", { class: "state", "data-state": o.state }, o.state.toLowerCase())), el("td", {}, o.payment.state.toLowerCase()),
    el("td", {}, o.lines.map((l) => `${l.quantity} × ${l.sku}`).join(", ")), el("td", { class: "num" }, money(o.total)), el("td", {}, new Date(o.placedAt).toLocaleTimeString()),
    el("td", {}, el("div", { class: "row" }, ...nextSteps(o))))));
}

// What staff can do with an order, by what the order itself says is possible.
function nextSteps(o) {
  const steps = [];
  const step = (label, mutation, type, input) => steps.push(el("button", { class: "plain", onclick: async () => {
    try {
      const payload = await retrying(`mutation($input: ${type}!) { ${mutation}(input: $input) { order { state } ${errors} } }`, { input }, mutation);
      toast(payload.userErrors[0]?.message ?? `${o.number} is ${payload.order.state.toLowerCase()}.`, payload.userErrors.length > 0);
      await loadOrders();
    } catch (e) { toast(e.message, true); }
  } }, label));
  const keyed = { orderId: o.id, idempotencyKey: crypto.randomUUID() };
  if (o.allowedTransitions.includes("FULFILLED")) step("Fulfil", "fulfilOrder", "FulfilOrderInput", keyed);
  if (["CAPTURED", "PARTIALLY_REFUNDED"].includes(o.payment.state)) step("Refund", "refundOrder", "RefundOrderInput", { ...keyed, reason: "Refunded in the console" });
  else if (o.allowedTransitions.includes("CANCELLED")) step("Cancel", "cancelOrder", "CancelOrderInput", { orderId: o.id, reason: "Cancelled in the console" });
  return steps;
}

async function start() {
  const nav = $("#account");
  const me = signedIn() ? (await call("{ me { email roles } }")).me : null;
  const staff = me?.roles.some((r) => r === "STAFF" || r === "OPERATOR") ?? false;
  nav.replaceChildren(...(me ? [el("span", { class: "quiet" }, me.email), el("button", { class: "plain", onclick: async () => { await signOut(); await start(); } }, "Sign out")]
    : [el("button", { onclick: async () => { if (await signIn()) await start(); } }, "Sign in")]));
  $("#gate").hidden = staff;
  if (me && !staff) $("#gate").replaceChildren(el("p", {}, "This account is not one of the staff's."));
  operator = me?.roles.includes("OPERATOR") ?? false;
  for (const id of ["#stock-section", "#sales-section", "#orders-section"]) $(id).hidden = !staff;
  $("#cluster-section").hidden = !operator;
  if (!staff) { cells.clear(); return; }
  await Promise.all([loadStock(), loadOrders(), loadSales(), operator && loadCluster()]);
}

let operator = false;

setInterval(() => {
  if (!document.hidden && cells.size) Promise.all([refreshStock(), loadOrders(), loadSales(), operator && loadCluster()]).catch(() => {}); // a missed update is made up by the next one
}, 2000);
start().catch((e) => toast(e.message, true));
