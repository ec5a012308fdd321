// Sales in the console: what is on, what is left of it, and its controls.
import { $, call, el, errors, retrying, toast } from "./api.js";

const fields = "id name state startsAt endsAt admission waiting admitted version items { allocation remaining variant { sku } }";

export async function loadSales() {
  const { sales } = await call(`{ sales { ${fields} } }`);
  const time = (t) => new Date(t).toLocaleTimeString();
  $("#sales").replaceChildren(...sales.map((s) => el("tr", {},
    el("th", { scope: "row" }, s.name), el("td", {}, el("span", { class: "state", "data-state": s.state }, s.state.toLowerCase().replace("_", " "))),
    el("td", {}, time(s.startsAt)), el("td", {}, time(s.endsAt)), el("td", {}, s.items.map((i) => `${i.variant.sku}: ${i.remaining} of ${i.allocation}`).join(", ")),
    el("td", { class: "num" }, String(s.waiting)), el("td", { class: "num" }, String(s.admitted)), el("td", {}, el("div", { class: "row" }, ...controls(s))))));
}

function controls(s) {
  if (s.state === "ENDED") return [];
  const control = (label, change) => el("button", { class: "plain", onclick: async () => {
    try {
      const payload = await retrying(`mutation($input: ControlSaleInput!) { controlSale(input: $input) { sale { state } ${errors} } }`, { input: { id: s.id, ifVersion: s.version, ...change } }, "controlSale");
      toast(payload.userErrors[0]?.message ?? `${s.name} is ${payload.sale.state.toLowerCase()}.`, payload.userErrors.length > 0);
      await loadSales();
    } catch (e) { toast(e.message, true); }
  } }, label);
  return [s.state === "PAUSED" ? control("Resume", { pause: false }) : control("Pause", { pause: true }), control("End", { end: true })];
}

async function create(form) {
  const of = (name) => form.elements[name].value;
  const opens = Date.now() + Number(of("opensIn")) * 1000;
  const room = of("admission") !== "OPEN_TO_ALL";
  const { stock } = await call("query($skus: [String!]!) { stock(skus: $skus) { sku } }", { skus: [of("sku")] });
  if (!stock[0]) throw new Error(`There is no SKU ${of("sku")}.`);
  const input = {
    idempotencyKey: crypto.randomUUID(), name: of("name"), startsAt: new Date(opens).toISOString(), endsAt: new Date(opens + Number(of("runsFor")) * 60_000).toISOString(),
    admission: of("admission"), perCustomerLimit: Number(of("perCustomerLimit")) || null, ...(room && { admitPerSecond: Number(of("admitPerSecond")) }),
    items: [{ sku: of("sku"), allocation: Number(of("allocation")), salePrice: { amount: of("amount"), currency: await currencyOf(of("sku")) } }],
  };
  const payload = await retrying(`mutation($input: CreateSaleInput!) { createSale(input: $input) { sale { id } ${errors} } }`, { input }, "createSale");
  if (payload.userErrors.length > 0) throw new Error(payload.userErrors[0].message);
}

// A SKU is sold in the currency that it has.
async function currencyOf(sku) {
  const { products } = await call("query($search: String!) { products(first: 10, search: $search) { edges { node { variants { sku price { currency } } } } } }", { search: sku });
  return products.edges.flatMap((e) => e.node.variants).find((v) => v.sku === sku)?.price.currency ?? "EUR";
}

const dialog = $("#sale-dialog");
$("#new-sale").addEventListener("click", () => {
  $("#skus").replaceChildren(...[...document.querySelectorAll("#stock th")].map((th) => el("option", { value: th.textContent })));
  dialog.querySelector(".error").textContent = "";
  dialog.showModal();
});
dialog.querySelector("form").addEventListener("submit", async (event) => {
  if (event.submitter?.value !== "create") return;
  event.preventDefault();
  try {
    await create(event.target);
    dialog.close();
    toast("The sale is scheduled.");
    await loadSales();
  } catch (e) { dialog.querySelector(".error").textContent = e.message; }
});
