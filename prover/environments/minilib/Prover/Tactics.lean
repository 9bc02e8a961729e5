prelude
import Prover.Registry

/-!
The tactics that can be written. Each line names a parser (and, where the tactic is a macro, its expansion) that is
compiled into Lean's own library; see `Prover.Registry` for how that works. The elaborators behind them are registered
by the library itself.

A tactic belongs here only if what it leaves behind survives the kernel: tactics look lemmas up by name, nothing checks
those lemmas' statements before the kernel does, and stepping never runs the kernel. `split`, `omega` and `ac_rfl` are
left out for that reason: they need families of lemmas that this prelude does not state as Lean's own library does.
-/

open Lean
namespace Lean.Parser.Tactic

/-! ## Syntax that the tactics below are made of -/

@[extern "x"] def optConfig : ParserDescr := compiled
@[extern "x"] def location : ParserDescr := compiled
@[extern "x"] def locationWildcard : ParserDescr := compiled
@[extern "x"] def locationHyp : ParserDescr := compiled
@[extern "x"] def locationType : ParserDescr := compiled
@[extern "x"] def rwRule : ParserDescr := compiled
@[extern "x"] def rwRuleSeq : ParserDescr := compiled
@[extern "x"] def inductionAltLHS : ParserDescr := compiled
@[extern "x"] def inductionAlt : ParserDescr := compiled
@[extern "x"] def inductionAlts : ParserDescr := compiled
@[extern "x"] def elimTarget : ParserDescr := compiled
@[extern "x"] def caseArg : ParserDescr := compiled
@[extern "x"] def rcasesPatLo : ParserDescr := compiled
@[extern "x"] def rcasesPatMed : ParserDescr := compiled
@[extern "x"] def generalizeArg : ParserDescr := compiled
@[extern "x"] def frameAlt : ParserDescr := compiled
@[extern "x"] def clearValueArg : ParserDescr := compiled
@[extern "x"] def clearValueHyp : ParserDescr := compiled
@[extern "x"] def clearValueStar : ParserDescr := compiled
@[extern "x"] def configItem : ParserDescr := compiled
@[extern "x"] def posConfigItem : ParserDescr := compiled
@[extern "x"] def negConfigItem : ParserDescr := compiled
@[extern "x"] def valConfigItem : ParserDescr := compiled
@[extern "x"] def config : ParserDescr := compiled
@[extern "x"] def simpArgs : ParserDescr := compiled
@[extern "x"] def simpArg : ParserDescr := compiled
@[extern "x"] def simpErase : ParserDescr := compiled
@[extern "x"] def simpLemma : ParserDescr := compiled
@[extern "x"] def simpPost : ParserDescr := compiled
@[extern "x"] def simpPre : ParserDescr := compiled
@[extern "x"] def simpStar : ParserDescr := compiled
@[extern "x"] def discharger : ParserDescr := compiled
@[extern "x"] def dsimpArg : ParserDescr := compiled
@[extern "x"] def dsimpArgs : ParserDescr := compiled
@[extern "x"] def simpaArgsRest : ParserDescr := compiled
@[extern "x"] def simpAutoUnfold : ParserDescr := compiled

/-! ### Patterns of `rcases`, `obtain` and `rintro` -/

declare_syntax_cat rcasesPat
declare_syntax_cat rintroPat
@[rcasesPat_parser 1000, extern "x"] def rcasesPat.one : ParserDescr := compiled
@[rcasesPat_parser 1000, extern "x"] def rcasesPat.ignore : ParserDescr := compiled
@[rcasesPat_parser 1000, extern "x"] def rcasesPat.clear : ParserDescr := compiled
@[rcasesPat_parser 1000, extern "x"] def rcasesPat.explicit : ParserDescr := compiled
@[rcasesPat_parser 1000, extern "x"] def rcasesPat.tuple : ParserDescr := compiled
@[rcasesPat_parser 1000, extern "x"] def rcasesPat.paren : ParserDescr := compiled
@[rintroPat_parser 1000, extern "x"] def rintroPat.one : ParserDescr := compiled
@[rintroPat_parser 1000, extern "x"] def rintroPat.binder : ParserDescr := compiled

/-! ## Introducing, and leaving the context alone -/

@[tactic_parser 1000, extern "x"] def intro : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def intros : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def rintro : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def revert : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def clear : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def rename : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def renameI : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def exposeNames : ParserDescr := compiled

/-! ## Closing a goal, or reducing it by a term -/

@[tactic_parser 1000, extern "x"] def exact : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def apply : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def refine : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def refine' : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def constructor : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def assumption : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def contradiction : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def tacticExfalso : ParserDescr := compiled
@[macro tacticExfalso, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticExfalso_1 : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def left : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def right : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def «tacticExists_,,» : ParserDescr := compiled
@[macro «tacticExists_,,», extern "x"] def «_aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticExists_,,_1» : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def tacticAnd_intros : ParserDescr := compiled
@[macro tacticAnd_intros, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticAnd_intros_1 : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def tacticTrivial : ParserDescr := compiled
@[macro tacticTrivial, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticTrivial_1 : Macro := compiledMacro
@[macro tacticTrivial, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticTrivial_2 : Macro := compiledMacro
@[macro tacticTrivial, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticTrivial_3 : Macro := compiledMacro
@[macro tacticTrivial, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticTrivial_4 : Macro := compiledMacro
@[macro tacticTrivial, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticTrivial_5 : Macro := compiledMacro
@[macro tacticTrivial, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticTrivial_6 : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def tacticNofun : ParserDescr := compiled
@[macro tacticNofun, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticNofun_1 : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def «tacticNomatch_,,» : ParserDescr := compiled
@[macro «tacticNomatch_,,», extern "x"] def «_aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticNomatch_,,_1» : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def tacticInfer_instance : ParserDescr := compiled
@[macro tacticInfer_instance, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticInfer_instance_1 : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def falseOrByContra : ParserDescr := compiled

/-! ## Taking hypotheses apart -/

@[tactic_parser 1000, extern "x"] def cases : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def rcases : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def obtain : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def induction : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def injection : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def injections : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def specialize : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def replace : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def generalize : ParserDescr := compiled

/-! ## Stating intermediate facts -/

@[tactic_parser 1000, extern "x"] def tacticHave__ : ParserDescr := compiled
@[macro tacticHave__, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticHave___1 : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def tacticHave' : ParserDescr := compiled
@[macro tacticHave', extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticHave'_1 : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def tacticHaveI__ : ParserDescr := compiled
@[macro tacticHaveI__, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticHaveI___1 : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def tacticLet__ : ParserDescr := compiled
@[macro tacticLet__, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticLet___1 : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def tacticLetI__ : ParserDescr := compiled
@[macro tacticLetI__, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticLetI___1 : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def tacticSuffices_ : ParserDescr := compiled
@[macro tacticSuffices_, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticSuffices__1 : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def tacticRefine_lift_ : ParserDescr := compiled
@[macro tacticRefine_lift_, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticRefine_lift__1 : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def tacticRefine_lift'_ : ParserDescr := compiled
@[macro tacticRefine_lift'_, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticRefine_lift'__1 : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def clearValue : ParserDescr := compiled

/-! ## Equality and rewriting -/

@[tactic_parser 1000, extern "x"] def tacticRfl : ParserDescr := compiled
@[macro tacticRfl, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticRfl_1 : Macro := compiledMacro
@[macro tacticRfl, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticRfl_2 : Macro := compiledMacro
@[macro tacticRfl, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticRfl_3 : Macro := compiledMacro
@[macro tacticRfl, extern "x"] def _root_._aux_Init_Core___macroRules_Lean_Parser_Tactic_tacticRfl_1 : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def tacticRfl' : ParserDescr := compiled
@[macro tacticRfl', extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticRfl'_1 : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def eqRefl : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def applyRfl : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def symm : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def rewriteSeq : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def rwSeq : ParserDescr := compiled
@[macro rwSeq, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_rwSeq_1 : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def rwa : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def rwaAt : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def rwaAtLegacyLocation : ParserDescr := compiled
@[macro rwaAtLegacyLocation, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_rwaAtLegacyLocation_1 : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def subst : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def substVars : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def congr : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def «show» : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def change : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def unfold : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def delta : ParserDescr := compiled

/-! ## Classical reasoning and decision -/

@[tactic_parser 1000, extern "x"] def classical : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def decide : ParserDescr := compiled

/-! ## Simplification -/

@[tactic_parser 1000, extern "x"] def simp : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def simpAll : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def dsimp : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def simpa : ParserDescr := compiled

/-! ## Combinators and goal management -/

@[tactic_parser 1000, extern "x"] def paren : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def skip : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def done : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def fail : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def failIfSuccess : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def first : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def tacticTry_ : ParserDescr := compiled
@[macro tacticTry_, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticTry__1 : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def tacticRepeat_ : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def repeat' : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def repeat1' : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def «tactic_<;>_» : TrailingParserDescr := compiled
@[macro «tactic_<;>_», extern "x"] def «_aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tactic_<;>__1» : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def allGoals : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def anyGoals : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def focus : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def case : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def case' : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def «tacticNext_=>_» : ParserDescr := compiled
@[macro «tacticNext_=>_», extern "x"] def «_aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticNext_=>__1» : Macro := compiledMacro
@[tactic_parser 1000, extern "x"] def rotateLeft : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def rotateRight : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def withReducible : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def withReducibleAndInstances : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def withUnfoldingAll : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def tacticUnhygienic_ : ParserDescr := compiled
@[macro tacticUnhygienic_, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticUnhygienic__1 : Macro := compiledMacro

/-! ## Messages, and the placeholder that certification refuses -/

@[tactic_parser 1000, extern "x"] def traceState : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def traceMessage : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def tacticSorry : ParserDescr := compiled
@[macro tacticSorry, extern "x"] def _aux_Init_Tactics___macroRules_Lean_Parser_Tactic_tacticSorry_1 : Macro := compiledMacro

end Lean.Parser.Tactic

/-! ## The focusing dot, and `by_cases` -/

@[extern "x"] def Lean.cdotTk : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def Lean.cdot : ParserDescr := compiled
@[tactic_parser 1000, extern "x"] def «tacticBy_cases_:_» : ParserDescr := compiled
@[macro «tacticBy_cases_:_», extern "x"] def «_aux_Init_ByCases___macroRules_tacticBy_cases_:__1» : Macro := compiledMacro
@[macro «tacticBy_cases_:_», extern "x"] def «_aux_Init_ByCases___macroRules_tacticBy_cases_:__2» : Macro := compiledMacro
