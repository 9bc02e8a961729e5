prelude
import Prover.Simp
import Prover.Nat

/-!
# Simplification of natural numbers

The part of the default simp set that knows lemmas of arithmetic. It comes after all of them: no module of the Natural
Number Game has it.
-/

set_option autoImplicit false

attribute [simp] Nat.add_zero Nat.zero_add Nat.mul_zero Nat.zero_mul Nat.mul_one Nat.one_mul Nat.sub_zero Nat.zero_sub
  Nat.sub_self

@[simp] theorem Nat.succ_eq_add_one' (n : Nat) : Nat.succ n = n + 1 := rfl
@[simp] theorem Nat.add_one_ne_zero (n : Nat) : (n + 1 = 0) = False := eq_false fun h => by cases h
@[simp] theorem Nat.zero_ne_add_one (n : Nat) : (0 = n + 1) = False := eq_false fun h => by cases h
@[simp] theorem Nat.add_one_inj (m n : Nat) : (m + 1 = n + 1) = (m = n) :=
  propext ⟨fun h => Nat.succ.inj' h, fun h => congrArg Nat.succ h⟩
@[simp] theorem Nat.add_right_inj' (a b c : Nat) : (a + b = a + c) = (b = c) :=
  propext ⟨Nat.add_left_cancel, fun h => by rw [h]⟩
@[simp] theorem Nat.add_left_inj' (a b c : Nat) : (b + a = c + a) = (b = c) :=
  propext ⟨Nat.add_right_cancel, fun h => by rw [h]⟩
@[simp] theorem Nat.le_refl' (n : Nat) : (n ≤ n) = True := eq_true (Nat.le_refl n)
@[simp] theorem Nat.zero_le' (n : Nat) : (0 ≤ n) = True := eq_true (Nat.zero_le n)
@[simp] theorem Nat.lt_self (n : Nat) : (n < n) = False := eq_false (Nat.lt_irrefl n)
@[simp] theorem Nat.not_le_eq (a b : Nat) : (¬a ≤ b) = (b < a) :=
  propext ⟨fun h => (Nat.lt_or_ge b a).elim id fun k => (h k).elim,
    fun h k => Nat.lt_irrefl _ (Nat.lt_of_lt_of_le h k)⟩
@[simp] theorem Nat.not_lt_eq (a b : Nat) : (¬a < b) = (b ≤ a) :=
  propext ⟨fun h => (Nat.lt_or_ge a b).elim (fun k => (h k).elim) id,
    fun h k => Nat.lt_irrefl _ (Nat.lt_of_lt_of_le k h)⟩
