prelude
import Prover.List.Definitions

/-! Appending nothing, and three lists. -/

set_option autoImplicit false
universe u

variable {α : Type u}

theorem List.append_nil (xs : List α) : xs ++ [] = xs := by
  induction xs with
  | nil => rfl
  | cons x xs ih => rw [List.cons_append, ih]

theorem List.append_assoc (xs ys zs : List α) : xs ++ ys ++ zs = xs ++ (ys ++ zs) := by
  induction xs with
  | nil => rfl
  | cons x xs ih => rw [List.cons_append, List.cons_append, List.cons_append, ih]
