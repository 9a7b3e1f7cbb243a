import { DisputeKind } from "./gen/disputes/v1/dispute_pb";

/** A page of the app. Its path stands after the # of the address, so that any file server can serve the app. */
export type Route =
  | { readonly page: "orders" }
  | { readonly page: "order"; readonly orderId: string }
  | { readonly page: "centre"; readonly orderId: string }
  | { readonly page: "request"; readonly orderId: string; readonly kind: DisputeKind }
  | { readonly page: "dispute"; readonly disputeId: string }
  | { readonly page: "queue" };

const SLUGS: readonly (readonly [DisputeKind, string])[] = [
  [DisputeKind.PARTIAL_REFUND, "partial-refund"],
  [DisputeKind.CANCELLATION, "cancellation"],
  [DisputeKind.ORDER_UPDATE, "order-update"],
  [DisputeKind.DELIVERY_EXTENSION, "delivery-extension"],
];

export function pathOf(route: Route): string {
  switch (route.page) {
    case "orders":
      return "/orders";
    case "order":
      return `/orders/${encodeURIComponent(route.orderId)}`;
    case "centre":
      return `/orders/${encodeURIComponent(route.orderId)}/centre`;
    case "request": {
      const slug = SLUGS.find(([kind]) => kind === route.kind)?.[1] ?? "";
      return `/orders/${encodeURIComponent(route.orderId)}/centre/${slug}`;
    }
    case "dispute":
      return `/disputes/${encodeURIComponent(route.disputeId)}`;
    case "queue":
      return "/queue";
  }
}

/** Returns nothing for a path that is no page. */
export function routeOf(path: string): Route | undefined {
  const [first, id, third, slug] = path.split("/").filter((part) => part !== "").map(decoded);
  if (first === "queue") return { page: "queue" };
  if (first === "disputes" && id !== undefined) return { page: "dispute", disputeId: id };
  if (first !== "orders") return undefined;
  if (id === undefined) return { page: "orders" };
  if (third !== "centre") return { page: "order", orderId: id };
  const kind = SLUGS.find(([, name]) => name === slug)?.[0];
  return kind === undefined ? { page: "centre", orderId: id } : { page: "request", orderId: id, kind };
}

/** A part of a path as it was before it was encoded; people can type anything into the address. */
export function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
