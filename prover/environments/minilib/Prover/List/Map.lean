prelude
import Prover.List.Length

/-! A function on two lists in a row. -/

set_option autoImplicit false
universe u v

variable {α : Type u} {β : Type v}

theorem List.map_append (f : α → β) (xs ys : List α) : List.map f (xs ++ ys) = List.map f xs ++ List.map f ys := by
  induction xs with
  | nil => rfl
  | cons x xs ih => rw [List.cons_append, List.map_cons, List.map_cons, List.cons_append, ih]
