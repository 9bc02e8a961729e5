prelude
import Prover.Registry

/-!
Notation: each line of a group registers the parser, its expansion, or its printing, all compiled into Lean's library.
Proof states therefore print exactly as Lean prints them.
-/

open Lean

/-! ## Connectives -/

@[term_parser 1000, extern "x"] def «term_∧_» : TrailingParserDescr := compiled
@[macro «term_∧_», extern "x"] def «_aux_Init_Notation___macroRules_term_∧__1» : Macro := compiledMacro
@[app_unexpander And, extern "x"] def _aux_Init_Notation___unexpand_And_1 : PrettyPrinter.Unexpander := compiledUnexpander
@[term_parser 1000, extern "x"] def «term_∨_» : TrailingParserDescr := compiled
@[macro «term_∨_», extern "x"] def «_aux_Init_Notation___macroRules_term_∨__1» : Macro := compiledMacro
@[app_unexpander Or, extern "x"] def _aux_Init_Notation___unexpand_Or_1 : PrettyPrinter.Unexpander := compiledUnexpander
@[term_parser 1000, extern "x"] def «term¬_» : ParserDescr := compiled
@[macro «term¬_», extern "x"] def «_aux_Init_Notation___macroRules_term¬__1» : Macro := compiledMacro
@[app_unexpander Not, extern "x"] def _aux_Init_Notation___unexpand_Not_1 : PrettyPrinter.Unexpander := compiledUnexpander
@[term_parser 1000, extern "x"] def «term_↔_» : TrailingParserDescr := compiled
@[macro «term_↔_», extern "x"] def «_aux_Init_Core___macroRules_term_↔__1» : Macro := compiledMacro
@[app_unexpander Iff, extern "x"] def _aux_Init_Core___unexpand_Iff_1 : PrettyPrinter.Unexpander := compiledUnexpander
@[app_unexpander Iff, extern "x"] def _aux_Init_Core___unexpand_Iff_2 : PrettyPrinter.Unexpander := compiledUnexpander

/-! ## Equality -/

@[term_parser 1000, extern "x"] def «term_=_» : TrailingParserDescr := compiled
@[macro «term_=_», extern "x"] def «_aux_Init_Notation___macroRules_term_=__1» : Macro := compiledMacro
@[macro «term_=_», extern "x"] def «_aux_Init_Notation___macroRules_term_=__2» : Macro := compiledMacro
@[app_unexpander Eq, extern "x"] def _aux_Init_Notation___unexpand_Eq_1 : PrettyPrinter.Unexpander := compiledUnexpander
@[term_parser 1000, extern "x"] def «term_≠_» : TrailingParserDescr := compiled
@[macro «term_≠_», extern "x"] def «_aux_Init_Core___macroRules_term_≠__1» : Macro := compiledMacro
@[macro «term_≠_», extern "x"] def «_aux_Init_Core___macroRules_term_≠__2» : Macro := compiledMacro
@[app_unexpander Ne, extern "x"] def _aux_Init_Core___unexpand_Ne_1 : PrettyPrinter.Unexpander := compiledUnexpander

/-! ## Arithmetic -/

@[term_parser 1000, extern "x"] def «term_+_» : TrailingParserDescr := compiled
@[macro «term_+_», extern "x"] def «_aux_Init_Notation___macroRules_term_+__1» : Macro := compiledMacro
@[macro «term_+_», extern "x"] def «_aux_Init_Notation___macroRules_term_+__2» : Macro := compiledMacro
@[app_unexpander HAdd.hAdd, extern "x"] def _aux_Init_Notation___unexpand_HAdd_hAdd_1 : PrettyPrinter.Unexpander := compiledUnexpander
@[term_parser 1000, extern "x"] def «term_*_» : TrailingParserDescr := compiled
@[macro «term_*_», extern "x"] def «_aux_Init_Notation___macroRules_term_*__1» : Macro := compiledMacro
@[macro «term_*_», extern "x"] def «_aux_Init_Notation___macroRules_term_*__2» : Macro := compiledMacro
@[app_unexpander HMul.hMul, extern "x"] def _aux_Init_Notation___unexpand_HMul_hMul_1 : PrettyPrinter.Unexpander := compiledUnexpander
@[term_parser 1000, extern "x"] def «term_-_» : TrailingParserDescr := compiled
@[macro «term_-_», extern "x"] def «_aux_Init_Notation___macroRules_term_-__1» : Macro := compiledMacro
@[macro «term_-_», extern "x"] def «_aux_Init_Notation___macroRules_term_-__2» : Macro := compiledMacro
@[app_unexpander HSub.hSub, extern "x"] def _aux_Init_Notation___unexpand_HSub_hSub_1 : PrettyPrinter.Unexpander := compiledUnexpander

/-! ## Order -/

@[term_parser 1000, extern "x"] def «term_<_» : TrailingParserDescr := compiled
@[macro «term_<_», extern "x"] def «_aux_Init_Notation___macroRules_term_<__1» : Macro := compiledMacro
@[macro «term_<_», extern "x"] def «_aux_Init_Notation___macroRules_term_<__2» : Macro := compiledMacro
@[app_unexpander LT.lt, extern "x"] def _aux_Init_Notation___unexpand_LT_lt_1 : PrettyPrinter.Unexpander := compiledUnexpander
@[term_parser 1000, extern "x"] def «term_>_» : TrailingParserDescr := compiled
@[macro «term_>_», extern "x"] def «_aux_Init_Notation___macroRules_term_>__1» : Macro := compiledMacro
@[macro «term_>_», extern "x"] def «_aux_Init_Notation___macroRules_term_>__2» : Macro := compiledMacro
@[app_unexpander GT.gt, extern "x"] def _aux_Init_Notation___unexpand_GT_gt_1 : PrettyPrinter.Unexpander := compiledUnexpander
@[term_parser 1000, extern "x"] def «term_≤_» : TrailingParserDescr := compiled
@[macro «term_≤_», extern "x"] def «_aux_Init_Notation___macroRules_term_≤__1» : Macro := compiledMacro
@[macro «term_≤_», extern "x"] def «_aux_Init_Notation___macroRules_term_≤__2» : Macro := compiledMacro
@[app_unexpander LE.le, extern "x"] def _aux_Init_Notation___unexpand_LE_le_1 : PrettyPrinter.Unexpander := compiledUnexpander
@[app_unexpander LE.le, extern "x"] def _aux_Init_Notation___unexpand_LE_le_2 : PrettyPrinter.Unexpander := compiledUnexpander
@[term_parser 1000, extern "x"] def «term_≥_» : TrailingParserDescr := compiled
@[macro «term_≥_», extern "x"] def «_aux_Init_Notation___macroRules_term_≥__1» : Macro := compiledMacro
@[macro «term_≥_», extern "x"] def «_aux_Init_Notation___macroRules_term_≥__2» : Macro := compiledMacro
@[app_unexpander GE.ge, extern "x"] def _aux_Init_Notation___unexpand_GE_ge_1 : PrettyPrinter.Unexpander := compiledUnexpander
@[app_unexpander GE.ge, extern "x"] def _aux_Init_Notation___unexpand_GE_ge_2 : PrettyPrinter.Unexpander := compiledUnexpander

/-! ## Existential quantifier -/

@[extern "x"] def Lean.binderIdent : ParserDescr := compiled
@[extern "x"] def Lean.unbracketedExplicitBinders : ParserDescr := compiled
@[extern "x"] def Lean.bracketedExplicitBinders : ParserDescr := compiled
@[extern "x"] def Lean.explicitBinders : ParserDescr := compiled
@[term_parser 1000, extern "x"] def «term∃_,_» : ParserDescr := compiled
@[macro «term∃_,_», extern "x"] def «_aux_Init_NotationExtra___macroRules_term∃_,__1» : Macro := compiledMacro
@[app_unexpander Exists, extern "x"] def unexpandExists : PrettyPrinter.Unexpander := compiledUnexpander

/-! ## Conditionals -/

@[term_parser 1000, extern "x"] def termIfThenElse : ParserDescr := compiled
@[macro termIfThenElse, extern "x"] def _aux_Init_Notation___macroRules_termIfThenElse_1 : Macro := compiledMacro
@[term_parser 1000, extern "x"] def termDepIfThenElse : ParserDescr := compiled
@[macro termDepIfThenElse, extern "x"] def _aux_Init_Notation___macroRules_termDepIfThenElse_1 : Macro := compiledMacro
