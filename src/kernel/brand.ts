declare const brand: unique symbol

/** A type that is structurally `Base` but may only be made by the function that checks it. */
export type Brand<Base, Name extends string> = Base & { readonly [brand]: Name }
