prelude
import Prover.List.Filter

/-! Turning two lists in a row around. -/

set_option autoImplicit false
universe u

variable {α : Type u}

theorem List.reverse_append (xs ys : List α) : List.reverse (xs ++ ys) = List.reverse ys ++ List.reverse xs := by
  induction xs with
  | nil => rw [List.nil_append, List.reverse_nil, List.append_nil]
  | cons x xs ih => rw [List.cons_append, List.reverse_cons, List.reverse_cons, ih, List.append_assoc]
