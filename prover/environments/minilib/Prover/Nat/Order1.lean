prelude
import Prover.Nat.AdvAddition2

/-! The order of natural numbers, and its description by a difference, which the game defines it by. -/

set_option autoImplicit false
namespace Nat

protected inductive le (n : Nat) : Nat → Prop where
  | refl : Nat.le n n
  | step {m : Nat} (h : Nat.le n m) : Nat.le n (succ m)

end Nat

abbrev Nat.lt (a b : Nat) : Prop := Nat.le (a + 1) b

instance instLENat : LE Nat := LE.mk Nat.le
instance instLTNat : LT Nat := LT.mk Nat.lt

namespace Nat

theorem le_add_right (n k : Nat) : n ≤ n + k := by
  induction k with
  | zero => exact Nat.le.refl
  | succ k ih => exact Nat.le.step ih

theorem exists_of_le {a b : Nat} (h : a ≤ b) : ∃ k, a + k = b := by
  induction h with
  | refl => exact ⟨0, rfl⟩
  | step _ ih => obtain ⟨k, e⟩ := ih; exact ⟨k + 1, congrArg succ e⟩

end Nat
