prelude
import Prover.Logic
import Prover.Simp
import Prover.Reserved

/-! What addition, multiplication and induction are, before anything is proved about them: the tutorial world of the
Natural Number Game. Everything that its later worlds may use grows from here, a module at a time. -/

set_option autoImplicit false
universe u

instance instSubNat : Sub Nat := Sub.mk Nat.sub

attribute [default_instance 100] instOfNatNat

/-! `induction` and `cases` show `0` and `n + 1` instead of `Nat.zero` and `Nat.succ n`. -/

@[induction_eliminator] noncomputable def Nat.recAux {motive : Nat → Sort u} (zero : motive 0)
    (succ : ∀ n, motive n → motive (n + 1)) (t : Nat) : motive t :=
  @Nat.rec motive zero succ t

@[cases_eliminator] noncomputable def Nat.casesAuxOn {motive : Nat → Sort u} (t : Nat) (zero : motive 0)
    (succ : ∀ n, motive (n + 1)) : motive t :=
  @Nat.casesOn motive t zero succ

noncomputable instance instDecidableEqNat : DecidableEq Nat := Nat.decEq

namespace Nat

theorem add_zero (n : Nat) : n + 0 = n := rfl
theorem add_succ (n m : Nat) : n + succ m = succ (n + m) := rfl
theorem add_one (n : Nat) : n + 1 = succ n := rfl
theorem succ_eq_add_one (n : Nat) : succ n = n + 1 := rfl
theorem mul_zero (n : Nat) : n * 0 = 0 := rfl
theorem mul_succ (n m : Nat) : n * succ m = n * m + n := rfl

end Nat
