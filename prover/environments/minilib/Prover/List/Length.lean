prelude
import Prover.List.Append

/-! The length of two lists in a row. -/

set_option autoImplicit false
universe u

variable {α : Type u}

theorem List.length_append (xs ys : List α) : List.length (xs ++ ys) = List.length xs + List.length ys := by
  induction xs with
  | nil => rw [List.nil_append, List.length_nil, Nat.zero_add]
  | cons x xs ih => rw [List.cons_append, List.length_cons, List.length_cons, ih, Nat.add_right_comm]
