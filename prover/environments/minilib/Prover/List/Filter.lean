prelude
import Prover.List.Map

/-! A test of two lists in a row. -/

set_option autoImplicit false
universe u

variable {α : Type u}

theorem List.filter_append (p : α → Bool) (xs ys : List α) :
    List.filter p (xs ++ ys) = List.filter p xs ++ List.filter p ys := by
  induction xs with
  | nil => rfl
  | cons x xs ih =>
    cases e : p x with
    | true => rw [List.cons_append, List.filter_cons_of_pos _ e, List.filter_cons_of_pos _ e, List.cons_append, ih]
    | false => rw [List.cons_append, List.filter_cons_of_neg _ e, List.filter_cons_of_neg _ e, ih]
